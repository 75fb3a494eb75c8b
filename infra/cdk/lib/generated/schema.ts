// Generated from docs/config.schema.json by scripts/generate.ts; `npm run generate` writes it anew.

export const schema = {
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Transship configuration",
  "description": "The configuration of both functions.",
  "type": "object",
  "properties": {
    "limits": {
      "description": "Bounds; all optional.",
      "$ref": "#/$defs/LimitSettings"
    },
    "registries": {
      "description": "Registries that need more than their host tells, by host (and port) as it stands in references.",
      "type": "object",
      "additionalProperties": {
        "$ref": "#/$defs/RegistrySettings"
      }
    },
    "rules": {
      "description": "What is replicated where. Every rule that matches applies.",
      "type": "array",
      "items": {
        "$ref": "#/$defs/RuleSettings"
      }
    }
  },
  "additionalProperties": false,
  "$defs": {
    "CreateRepository": {
      "description": "How a missing ECR repository is created.",
      "type": "object",
      "properties": {
        "encryption": {
          "description": "How images are encrypted; can't be changed later.",
          "anyOf": [
            {
              "$ref": "#/$defs/Encryption"
            },
            {
              "type": "null"
            }
          ]
        },
        "lifecycle_policy": {
          "description": "The lifecycle policy that it gets, up to 30720 characters.",
          "anyOf": [
            {
              "$ref": "#/$defs/Policy"
            },
            {
              "type": "null"
            }
          ]
        },
        "repository_policy": {
          "description": "The repository policy that it gets (who else may do what in it), up to 10240 characters.",
          "anyOf": [
            {
              "$ref": "#/$defs/Policy"
            },
            {
              "type": "null"
            }
          ]
        },
        "scan_on_push": {
          "description": "Scan images when they are pushed.",
          "type": [
            "boolean",
            "null"
          ],
          "default": null
        },
        "tag_mutability": {
          "description": "Whether tags can move.",
          "anyOf": [
            {
              "$ref": "#/$defs/TagMutability"
            },
            {
              "type": "null"
            }
          ]
        },
        "tag_mutability_exclusions": {
          "description": "Wildcards (with `*`) of tags that are excepted from `tag_mutability`, up to 5; only with the `…_WITH_EXCLUSION` values.",
          "type": "array",
          "default": [],
          "items": {
            "type": "string"
          }
        },
        "tags": {
          "description": "Resource tags.",
          "type": "object",
          "additionalProperties": {
            "type": "string"
          },
          "default": {}
        }
      },
      "additionalProperties": false
    },
    "Delete": {
      "description": "What a rule does at its destinations when a tag is deleted at the source.",
      "oneOf": [
        {
          "description": "Remove the same tag where it still holds the same digest and is not the last tag of it.",
          "type": "string",
          "const": "untag"
        },
        {
          "description": "The same, and the last tag too. ECR removes the image with it; other registries keep it for their garbage collection.",
          "type": "string",
          "const": "image"
        }
      ]
    },
    "Encryption": {
      "description": "How images are encrypted at rest.",
      "type": "object",
      "properties": {
        "kms_key": {
          "description": "The key's ARN, ID or alias; left out: the AWS-managed key of ECR.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "type": {
          "description": "By whom.",
          "$ref": "#/$defs/EncryptionType"
        }
      },
      "additionalProperties": false,
      "required": [
        "type"
      ]
    },
    "EncryptionType": {
      "description": "Who encrypts.",
      "oneOf": [
        {
          "description": "S3-managed keys.",
          "type": "string",
          "const": "AES256"
        },
        {
          "description": "A key in KMS.",
          "type": "string",
          "const": "KMS"
        },
        {
          "description": "A key in KMS, two layers.",
          "type": "string",
          "const": "KMS_DSSE"
        }
      ]
    },
    "ExistingTag": {
      "description": "What to do with a tag that the destination has, at another digest.",
      "oneOf": [
        {
          "description": "Move it.",
          "type": "string",
          "const": "overwrite"
        },
        {
          "description": "Leave it; the outcome is `kept`.",
          "type": "string",
          "const": "keep"
        },
        {
          "description": "Leave it; the sync fails with `TagImmutable`.",
          "type": "string",
          "const": "fail"
        }
      ]
    },
    "LimitSettings": {
      "description": "Bounds; all optional.",
      "type": "object",
      "properties": {
        "blob_concurrency": {
          "description": "Blobs in transfer at once, 1 to 64; default 16.",
          "type": [
            "integer",
            "null"
          ],
          "format": "uint32",
          "default": null,
          "minimum": 0
        },
        "buffer_bytes": {
          "description": "Bytes that may be held at once (of blobs, chunks, manifests, in receive windows), 1 MiB to 8 GiB; default: from the\nfunction's memory.",
          "type": [
            "integer",
            "null"
          ],
          "format": "uint64",
          "default": null,
          "minimum": 0
        },
        "deadline_margin_ms": {
          "description": "Kept of the invocation's time, in milliseconds, up to 300000; default 5000.",
          "type": [
            "integer",
            "null"
          ],
          "format": "uint64",
          "default": null,
          "minimum": 0
        },
        "manifest_commit_wait_ms": {
          "description": "How long to wait for ECR to call the blobs available, in milliseconds, up to 600000; default 30000.",
          "type": [
            "integer",
            "null"
          ],
          "format": "uint64",
          "default": null,
          "minimum": 0
        },
        "max_attempts": {
          "description": "Tries of one request, the first included, 1 to 20; default 8.",
          "type": [
            "integer",
            "null"
          ],
          "format": "uint32",
          "default": null,
          "minimum": 0
        },
        "request_timeout_ms": {
          "description": "How long nothing may move before an exchange is given up (a stall, not a whole transfer), in milliseconds,\n100 to 900000; default 30000.",
          "type": [
            "integer",
            "null"
          ],
          "format": "uint64",
          "default": null,
          "minimum": 0
        }
      },
      "additionalProperties": false
    },
    "Policy": {
      "description": "A policy: the JSON object itself, or a text that holds it.",
      "anyOf": [
        {
          "description": "The object.",
          "type": "object",
          "additionalProperties": true
        },
        {
          "description": "The text, sent as it is.",
          "type": "string"
        }
      ]
    },
    "Provider": {
      "description": "A kind of registry.",
      "oneOf": [
        {
          "description": "Amazon ECR, private.",
          "type": "string",
          "const": "ecr"
        },
        {
          "description": "Amazon ECR Public.",
          "type": "string",
          "const": "ecr-public"
        },
        {
          "description": "GitHub's container registry.",
          "type": "string",
          "const": "ghcr"
        },
        {
          "description": "Google Artifact Registry, and `gcr.io`, which it serves.",
          "type": "string",
          "const": "gar"
        },
        {
          "description": "Azure Container Registry.",
          "type": "string",
          "const": "acr"
        },
        {
          "description": "Docker Hub.",
          "type": "string",
          "const": "docker-hub"
        },
        {
          "description": "Quay.io.",
          "type": "string",
          "const": "quay"
        },
        {
          "description": "Any other registry that follows the OCI distribution specification.",
          "type": "string",
          "const": "generic"
        }
      ]
    },
    "Referrers": {
      "description": "Which of an image's referrers are copied: all, none, or those of some artifact types.",
      "anyOf": [
        {
          "description": "All, or none.",
          "type": "boolean"
        },
        {
          "description": "Those of some artifact types.",
          "$ref": "#/$defs/TypeLists"
        }
      ]
    },
    "RegistrySettings": {
      "description": "One registry.",
      "type": "object",
      "properties": {
        "account": {
          "description": "ECR on a host that doesn't tell: its account.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "authority": {
          "description": "ACR: the URL where an application of Microsoft Entra ID signs in; left out: that of the registry's cloud, such as\n`https://login.microsoftonline.com`.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "ca_certificate": {
          "description": "Extra trust: `file:PATH` or PEM text.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "create_repository": {
          "description": "ECR destinations: create a missing repository with these settings.",
          "anyOf": [
            {
              "$ref": "#/$defs/CreateRepository"
            },
            {
              "type": "null"
            }
          ]
        },
        "credentials": {
          "description": "`secretsmanager:ARN-OR-NAME` or `env:NAME`; the text behind it is `USER:PASSWORD`, JSON\n`{\"username\":…,\"password\":…}`, or a docker `config.json`. Artifact Registry: also a service account's key file.\nACR: also `{\"tenant\":…,\"client_id\":…,\"client_secret\":…}`, an application of Microsoft Entra ID. Private ECR: also\nthe AWS identity to ask its API as, `{\"access_key_id\":…,\"secret_access_key\":…,\"session_token\":…}`, for a registry\nin another partition.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "endpoint": {
          "description": "The URL to talk to instead of `https://HOST`. The host of the reference stays the identity.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "external_id": {
          "description": "ECR: the external ID that the role's trust policy asks for.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "plain_http": {
          "description": "Speak HTTP. Without it HTTP is refused.",
          "type": "boolean",
          "default": false
        },
        "provider": {
          "description": "What kind it is; left out: told from the host.",
          "anyOf": [
            {
              "$ref": "#/$defs/Provider"
            },
            {
              "type": "null"
            }
          ]
        },
        "redirects": {
          "description": "`HOST:PORT`s that a blob read of this registry may be redirected to although they are not public.",
          "type": "array",
          "default": [],
          "items": {
            "type": "string"
          }
        },
        "region": {
          "description": "ECR on a host that doesn't tell: its region.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "role_arn": {
          "description": "ECR: the role to assume for this registry's API calls.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "streams": {
          "description": "Requests at once towards this registry, bodies included (h2 streams), 1 to 256; default 64.",
          "type": [
            "integer",
            "null"
          ],
          "format": "uint32",
          "default": null,
          "minimum": 0
        },
        "workload_identity": {
          "description": "Artifact Registry: log in as the function's AWS role, without a secret. Goes without `credentials`.",
          "anyOf": [
            {
              "$ref": "#/$defs/WorkloadIdentitySettings"
            },
            {
              "type": "null"
            }
          ]
        }
      },
      "additionalProperties": false
    },
    "RuleSettings": {
      "description": "One rule: which pushed images it takes, and where they go.",
      "type": "object",
      "properties": {
        "delete": {
          "description": "Follow the deletion of a tag; left out: nothing is ever removed. Doesn't go with `platforms`.",
          "anyOf": [
            {
              "$ref": "#/$defs/Delete"
            },
            {
              "type": "null"
            }
          ]
        },
        "destinations": {
          "description": "Where to: references with `{registry}`, `{repository}`, `{name}`, `{tag}` and `{digest}` filled in. No tag\npart means `:{tag}`.",
          "type": "array",
          "items": {
            "type": "string"
          }
        },
        "existing_tag": {
          "description": "What to do with a tag that the destination has, at another digest.",
          "$ref": "#/$defs/ExistingTag",
          "default": "overwrite"
        },
        "name": {
          "description": "For people: logs and errors name the rule by it.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "platforms": {
          "description": "Copy only these platforms, `OS/ARCHITECTURE[/VARIANT]`, such as `linux/arm64` or `windows(10.0.17763)/amd64`: of an\nindex a new one, with a digest of its own. Left out: the whole index, byte for byte.",
          "type": [
            "array",
            "null"
          ],
          "default": null,
          "items": {
            "type": "string"
          }
        },
        "referrers": {
          "description": "Copy what is attached to the image (signatures, SBOMs, attestations): `true` (the default), `false`, or lists of\nartifact types to include or exclude.",
          "$ref": "#/$defs/Referrers",
          "default": true
        },
        "require_referrers": {
          "description": "Artifact types that must be attached to an image, or it is not replicated; `*` in one stands for anything.",
          "type": "array",
          "default": [],
          "items": {
            "type": "string"
          }
        },
        "scan_gate": {
          "description": "Hold images until ECR has scanned them, and refuse those with findings; left out: no scan is asked for.",
          "anyOf": [
            {
              "$ref": "#/$defs/ScanGate"
            },
            {
              "type": "null"
            }
          ],
          "default": null
        },
        "source": {
          "description": "Which repositories.",
          "$ref": "#/$defs/SourceSettings"
        },
        "tags": {
          "description": "Which tags.",
          "$ref": "#/$defs/TagSettings",
          "default": {
            "exclude": [],
            "include": [],
            "semver": null
          }
        },
        "untagged": {
          "description": "What to do with a push without a tag.",
          "$ref": "#/$defs/Untagged"
        }
      },
      "additionalProperties": false,
      "required": [
        "destinations"
      ]
    },
    "ScanGate": {
      "description": "Hold an image until ECR has scanned it, and refuse it for what the scan found.",
      "type": "object",
      "properties": {
        "severity": {
          "description": "A finding of this severity or above refuses the image.",
          "$ref": "#/$defs/Severity"
        },
        "wait_minutes": {
          "description": "How long an image is held whose scan has not finished, in minutes, 1 to 1440; then it is refused. Counted from its\npush, or from the event or message that asks for it, whichever came last.",
          "type": "integer",
          "format": "uint32",
          "default": 60,
          "minimum": 0
        }
      },
      "additionalProperties": false,
      "required": [
        "severity"
      ]
    },
    "Severity": {
      "description": "How bad a finding is, the least first.",
      "oneOf": [
        {
          "description": "None was given; of enhanced scanning also `UNTRIAGED`. As a setting: any finding refuses.",
          "type": "string",
          "const": "UNDEFINED"
        },
        {
          "description": "No risk by itself.",
          "type": "string",
          "const": "INFORMATIONAL"
        },
        {
          "description": "Low.",
          "type": "string",
          "const": "LOW"
        },
        {
          "description": "Medium.",
          "type": "string",
          "const": "MEDIUM"
        },
        {
          "description": "High.",
          "type": "string",
          "const": "HIGH"
        },
        {
          "description": "Critical.",
          "type": "string",
          "const": "CRITICAL"
        }
      ]
    },
    "SourceSettings": {
      "description": "Which repositories a rule takes.",
      "type": "object",
      "properties": {
        "exclude": {
          "description": "Globs of repositories that are left out.",
          "type": "array",
          "default": [],
          "items": {
            "type": "string"
          }
        },
        "registry": {
          "description": "The registry's host; left out: any.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "repository": {
          "description": "A glob: `*` stays within a path component, `**` crosses them, `{a,b}` chooses; left out: any.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        }
      },
      "additionalProperties": false
    },
    "TagMutability": {
      "description": "Whether tags can move.",
      "oneOf": [
        {
          "description": "They can.",
          "type": "string",
          "const": "MUTABLE"
        },
        {
          "description": "They can't.",
          "type": "string",
          "const": "IMMUTABLE"
        },
        {
          "description": "They can, but for the exclusions.",
          "type": "string",
          "const": "MUTABLE_WITH_EXCLUSION"
        },
        {
          "description": "They can't, but for the exclusions.",
          "type": "string",
          "const": "IMMUTABLE_WITH_EXCLUSION"
        }
      ]
    },
    "TagSettings": {
      "description": "Which tags a rule takes.",
      "type": "object",
      "properties": {
        "exclude": {
          "description": "Globs, none of which may match.",
          "type": "array",
          "default": [],
          "items": {
            "type": "string"
          }
        },
        "include": {
          "description": "Globs, one of which must match; none: all tags.",
          "type": "array",
          "default": [],
          "items": {
            "type": "string"
          }
        },
        "semver": {
          "description": "A range that the tag, read as a version (a leading `v` allowed), must be inside, such as `>=1.2, <3`.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        }
      },
      "additionalProperties": false
    },
    "TypeLists": {
      "description": "Artifact types, such as `application/spdx+json`; `*` in one stands for anything.",
      "type": "object",
      "properties": {
        "exclude": {
          "description": "Not these.",
          "type": "array",
          "items": {
            "type": "string"
          }
        },
        "include": {
          "description": "Only these; none: all.",
          "type": "array",
          "items": {
            "type": "string"
          }
        }
      },
      "additionalProperties": false
    },
    "Untagged": {
      "description": "What to do with a push without a tag.",
      "oneOf": [
        {
          "description": "Leave it: the pieces of a multi-platform push arrive as untagged events of their own.",
          "type": "string",
          "const": "skip"
        },
        {
          "description": "Replicate it under its digest.",
          "type": "string",
          "const": "by-digest"
        }
      ]
    },
    "WorkloadIdentitySettings": {
      "description": "Who the function is at Google: workload identity federation with AWS.",
      "type": "object",
      "properties": {
        "audience": {
          "description": "The pool's provider for AWS:\n`//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.",
          "type": "string"
        },
        "iam_endpoint": {
          "description": "The URL to talk to instead of `https://iamcredentials.googleapis.com`.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "service_account": {
          "description": "The service account to become; left out: the pool's principal has rights at the registry itself.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        },
        "token_endpoint": {
          "description": "The URL to talk to instead of `https://sts.googleapis.com`.",
          "type": [
            "string",
            "null"
          ],
          "default": null
        }
      },
      "additionalProperties": false,
      "required": [
        "audience"
      ]
    }
  }
} as const;
