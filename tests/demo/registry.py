"""Reads an image back from a registry over HTTPS, the way any client would, and trusts nothing that it can check."""

import hashlib
import json
import ssl
import urllib.error
import urllib.request
from copy import copy as shallow
from dataclasses import dataclass, field

from failure import Failure

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass
class Copy:
    """What a registry holds of an image. The tag's digest is what the registry says, all others are those of bytes."""

    tag: str
    index: str
    platforms: dict = field(default_factory=dict)
    blobs: dict = field(default_factory=dict)
    referrers: list = field(default_factory=list)

    @property
    def bytes(self):
        """The size of all blobs."""
        return sum(self.blobs.values())


class End:
    """One end of the replication."""

    def __init__(self, about, ca_file):
        self.registry, self.region = about["registry"], about["region"]
        self.repository, self.endpoint = about["repository"], about["endpoint"]
        self.authorization = about["authorization"]
        https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
        self.opener = urllib.request.build_opener(https, urllib.request.ProxyHandler({}))

    def copy(self, tag):
        """Reads the image from its tag to its last blob."""
        body, digest, told = self.get(f"manifests/{tag}", MANIFESTS)
        copy = Copy(tag=told, index=digest)
        for child in json.loads(body)["manifests"]:
            platform = "/".join(child["platform"].get(key, "") for key in ("os", "architecture", "variant"))
            manifest = self.verified("manifests", child, MANIFESTS)
            copy.platforms[platform.rstrip("/")] = child["digest"]
            manifest = json.loads(manifest)
            for blob in [manifest["config"], *manifest["layers"]]:
                if blob["digest"] not in copy.blobs:
                    copy.blobs[blob["digest"]] = len(self.verified("blobs", blob))
        body, _, _ = self.get(f"referrers/{digest}")
        for attached in json.loads(body)["manifests"]:
            manifest = json.loads(self.verified("manifests", attached, MANIFESTS))
            copy.referrers.append(attached["digest"])
            for blob in [manifest["config"], *manifest["layers"]]:
                copy.blobs[blob["digest"]] = len(self.verified("blobs", blob))
        return copy

    def tags(self, repository):
        """The digest behind each tag of a repository, of the bytes that are there."""
        there = shallow(self)
        there.repository = repository
        body, _, _ = there.get("tags/list")
        return {tag: there.get(f"manifests/{tag}", MANIFESTS)[1] for tag in json.loads(body)["tags"]}

    def verified(self, kind, descriptor, accept="*/*"):
        """Reads what a descriptor describes."""
        body, digest, _ = self.get(f"{kind}/{descriptor['digest']}", accept)
        if (digest, len(body)) != (descriptor["digest"], descriptor["size"]):
            raise Failure(f"{self.registry}/{self.repository}: {descriptor['digest']} has the bytes of {digest}")
        return body

    def get(self, path, accept="*/*"):
        """One GET, redirects followed: the bytes, their digest, and the digest that the registry tells."""
        request = urllib.request.Request(f"{self.endpoint}/v2/{self.repository}/{path}", headers={"Accept": accept})
        # An object store must not see what the registry asks for.
        request.add_unredirected_header("Authorization", self.authorization)
        try:
            with self.opener.open(request, timeout=30) as answer:
                body, told = answer.read(), answer.headers.get("Docker-Content-Digest")
        except urllib.error.HTTPError as error:
            raise Failure(f"{self.registry}/{self.repository}: GET {path} was answered with {error.code}") from error
        return body, "sha256:" + hashlib.sha256(body).hexdigest(), told
