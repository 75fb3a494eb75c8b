// Generated from infra/operations by scripts/generate.ts; `npm run generate` writes it anew.

export const dashboard = {
  "widgets": [
    {
      "type": "alarm",
      "x": 0,
      "y": 0,
      "width": 24,
      "height": 2,
      "properties": {
        "title": "Alarms",
        "alarms": [
          "${DeadLettersAlarm.Arn}",
          "${QueueAgeAlarm.Arn}",
          "${FailuresAlarm.Arn}",
          "${LagAlarm.Arn}",
          "${ThrottlingAlarm.Arn}",
          "${NearTimeoutAlarm.Arn}"
        ]
      }
    },
    {
      "type": "metric",
      "x": 0,
      "y": 2,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Replication lag: from the push to the tag at the destination",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"ReplicationLag\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'p50', 300)",
              "id": "lag50",
              "label": "p50 "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"ReplicationLag\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'p95', 300)",
              "id": "lag95",
              "label": "p95 "
            }
          ]
        ],
        "yAxis": {"left": {"min": 0, "label": "ms", "showUnits": false}}
      }
    },
    {
      "type": "metric",
      "x": 12,
      "y": 2,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Synced, already current, removed, failed",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Synced\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "synced",
              "label": "synced "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Current\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "current",
              "label": "current "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Untagged\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "untagged",
              "label": "tag removed "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Deleted\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "deleted",
              "label": "deleted "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Failed\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "failed",
              "label": "failed "
            }
          ]
        ],
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "log",
      "x": 0,
      "y": 8,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Failed, by error type",
        "region": "${AWS::Region}",
        "view": "bar",
        "query": "SOURCE '${OnPushLogs}' | SOURCE '${FanoutLogs}' | filter message = \"result\" and result.outcome = \"failed\" | stats count(*) as failed by result.error_type, bin(1h)"
      }
    },
    {
      "type": "metric",
      "x": 12,
      "y": 8,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Bytes sent, and bytes that the destination had or could mount",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"BytesTransferred\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "sent",
              "label": "sent "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"BytesAvoided\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "avoided",
              "label": "avoided "
            }
          ]
        ],
        "stacked": true,
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 0,
      "y": 14,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Asked to slow down, tried again",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Throttled\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "throttled",
              "label": "throttled "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Retries\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "retries",
              "label": "retries "
            }
          ]
        ],
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 12,
      "y": 14,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Blobs",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"BlobsTransferred\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "blobs",
              "label": "sent "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"BlobsMounted\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Sum', 300)",
              "id": "mounted",
              "label": "mounted "
            }
          ]
        ],
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 0,
      "y": 20,
      "width": 8,
      "height": 6,
      "properties": {
        "title": "Queue: depth, and age of the oldest message",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "QueueName",
            "${Queue.QueueName}",
            {"label": "waiting", "stat": "Maximum"}
          ],
          [
            "AWS/SQS",
            "ApproximateNumberOfMessagesNotVisible",
            "QueueName",
            "${Queue.QueueName}",
            {"label": "in flight, or hidden until a next try", "stat": "Maximum"}
          ],
          [
            "AWS/SQS",
            "ApproximateAgeOfOldestMessage",
            "QueueName",
            "${Queue.QueueName}",
            {"label": "age of the oldest (s)", "stat": "Maximum", "yAxis": "right"}
          ]
        ],
        "yAxis": {"left": {"min": 0}, "right": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 8,
      "y": 20,
      "width": 8,
      "height": 6,
      "properties": {
        "title": "Dead letters",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "QueueName",
            "${DeadLetters.QueueName}",
            {"label": "messages", "stat": "Maximum"}
          ],
          [
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "QueueName",
            "${EventDeadLetters.QueueName}",
            {"label": "events", "stat": "Maximum"}
          ]
        ],
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 16,
      "y": 20,
      "width": 8,
      "height": 6,
      "properties": {
        "title": "Messages",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          ["Transship", "Messages", "Function", "${Fanout}", {"label": "came", "stat": "Sum"}],
          ["Transship", "MessagesDone", "Function", "${Fanout}", {"label": "done", "stat": "Sum"}],
          ["Transship", "MessagesIgnored", "Function", "${Fanout}", {"label": "ignored", "stat": "Sum"}],
          [
            "Transship",
            "MessagesFailed",
            "Function",
            "${Fanout}",
            {"label": "failed, to be tried again", "stat": "Sum"}
          ],
          ["Transship", "MessagesUnfinished", "Function", "${Fanout}", {"label": "unfinished", "stat": "Sum"}],
          ["Transship", "MessagesBuried", "Function", "${Fanout}", {"label": "buried", "stat": "Sum"}]
        ],
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 0,
      "y": 26,
      "width": 8,
      "height": 6,
      "properties": {
        "title": "Duration against the timeout",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          ["AWS/Lambda", "Duration", "FunctionName", "${OnPush}", {"label": "on-push, longest", "stat": "Maximum"}],
          ["AWS/Lambda", "Duration", "FunctionName", "${OnPush}", {"label": "on-push, p95", "stat": "p95"}],
          ["AWS/Lambda", "Duration", "FunctionName", "${Fanout}", {"label": "fanout, longest", "stat": "Maximum"}],
          ["AWS/Lambda", "Duration", "FunctionName", "${Fanout}", {"label": "fanout, p95", "stat": "p95"}]
        ],
        "yAxis": {"left": {"min": 0, "label": "ms", "showUnits": false}},
        "annotations": {
          "horizontal": [
            {"label": "timeout", "value": 900000},
            {"label": "work is handed over", "value": 865000, "color": "#ff9900"}
          ]
        }
      }
    },
    {
      "type": "log",
      "x": 8,
      "y": 26,
      "width": 8,
      "height": 6,
      "properties": {
        "title": "Memory against the limit (MB)",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "query": "SOURCE '${OnPushLogs}' | SOURCE '${FanoutLogs}' | filter type = \"platform.report\" | stats max(record.metrics.maxMemoryUsedMB) as used, max(record.metrics.memorySizeMB) as limit by bin(5m)"
      }
    },
    {
      "type": "metric",
      "x": 16,
      "y": 26,
      "width": 8,
      "height": 6,
      "properties": {
        "title": "Buffers: the most that one sync held",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"PeakBufferBytes\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'Maximum', 300)",
              "id": "buffers",
              "label": ""
            }
          ]
        ],
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 0,
      "y": 32,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Invocations, errors, throttled invocations",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          ["AWS/Lambda", "Invocations", "FunctionName", "${OnPush}", {"label": "on-push", "stat": "Sum"}],
          ["AWS/Lambda", "Invocations", "FunctionName", "${Fanout}", {"label": "fanout", "stat": "Sum"}],
          ["AWS/Lambda", "Errors", "FunctionName", "${OnPush}", {"label": "on-push, errors", "stat": "Sum"}],
          ["AWS/Lambda", "Errors", "FunctionName", "${Fanout}", {"label": "fanout, errors", "stat": "Sum"}],
          ["AWS/Lambda", "Throttles", "FunctionName", "${OnPush}", {"label": "on-push, throttled", "stat": "Sum"}],
          ["AWS/Lambda", "Throttles", "FunctionName", "${Fanout}", {"label": "fanout, throttled", "stat": "Sum"}]
        ],
        "yAxis": {"left": {"min": 0}}
      }
    },
    {
      "type": "metric",
      "x": 12,
      "y": 32,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Duration of a sync",
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": 300,
        "metrics": [
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Duration\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'p50', 300)",
              "id": "sync50",
              "label": "p50 "
            }
          ],
          [
            {
              "expression": "SEARCH('{Transship,Function,Destination} MetricName=\"Duration\" Function=(\"${OnPush}\" OR \"${Fanout}\")', 'p95', 300)",
              "id": "sync95",
              "label": "p95 "
            }
          ]
        ],
        "yAxis": {"left": {"min": 0, "label": "ms", "showUnits": false}}
      }
    },
    {
      "type": "log",
      "x": 0,
      "y": 38,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Backfills and sweeps: what destinations lacked, what could not be compared",
        "region": "${AWS::Region}",
        "view": "bar",
        "query": "SOURCE '${FanoutLogs}' | filter message = \"backfill\" and backfill.finished = 1 and backfill.dry_run = 0 | stats sum(backfill.missing) as missing, sum(backfill.different) as different, sum(backfill.failed) as failed by bin(1h)"
      }
    },
    {
      "type": "log",
      "x": 12,
      "y": 38,
      "width": 12,
      "height": 6,
      "properties": {
        "title": "Backfills and sweeps that failed",
        "region": "${AWS::Region}",
        "view": "table",
        "query": "SOURCE '${FanoutLogs}' | filter level = \"ERROR\" and (message = \"backfill\" or message like /^a repository could not be listed/) | fields @timestamp, repository, error_type, error_message, backfill.repository, backfill.failed, backfill.error_type, backfill.error_message | sort @timestamp desc | limit 20"
      }
    }
  ]
};

export const queries: Record<string, string> = {
  "failures": "filter message = \"result\" and result.outcome = \"failed\"\n| fields @timestamp, result.error_type, result.source, result.destination, result.error_message, requestId\n| sort @timestamp desc\n| limit 200",
  "failures-by-destination": "filter message = \"result\" and result.outcome = \"failed\"\n| stats count(*) as failed, latest(result.error_message) as last by result.error_type, Destination\n| sort failed desc",
  "lag": "filter message = \"result\" and ispresent(ReplicationLag)\n| stats count(*) as pushes, pct(ReplicationLag, 50) as p50_ms, pct(ReplicationLag, 95) as p95_ms, max(ReplicationLag) as longest_ms by Destination\n| sort p95_ms desc",
  "slowest": "filter message = \"result\"\n| fields @timestamp, result.duration_ms, result.outcome, result.bytes.written, result.retries, result.throttled, result.source, result.destination\n| sort result.duration_ms desc\n| limit 50",
  "one-image": "filter message = \"result\" and result.source like /REPOSITORY:TAG/\n| fields @timestamp, result.outcome, result.digest, result.destination, result.error_type, requestId\n| sort @timestamp asc",
  "throttling": "filter message = \"result\" and result.throttled > 0\n| stats sum(result.throttled) as throttled, sum(result.retries) as retries, count(*) as syncs by Destination, bin(15m)\n| sort throttled desc",
  "continued": "filter message = \"result\" and result.outcome = \"continued\"\n| stats count(*) as invocations, sum(result.bytes.written) as bytes by result.source, result.destination\n| sort invocations desc",
  "backfill": "filter message = \"backfill\"\n| fields @timestamp, backfill.repository, backfill.finished, backfill.dry_run, backfill.listed, backfill.current, backfill.missing, backfill.different, backfill.revisited, backfill.enqueued, backfill.failed, backfill.error_type, backfill.error_message\n| sort @timestamp desc",
  "backfill-failed": "filter level = \"ERROR\" and (message = \"backfill\" or message like /^a repository could not be listed/)\n| fields @timestamp, repository, error_type, error_message, backfill.repository, backfill.failed, backfill.error_type, backfill.error_message\n| sort @timestamp desc\n| limit 200",
  "ignored": "filter message = \"ignored\"\n| stats count(*) as events by reason\n| sort events desc",
  "functions": "filter type = \"platform.report\"\n| stats count(*) as invocations, max(record.metrics.durationMs) as longest_ms, pct(record.metrics.durationMs, 95) as p95_ms, sum(record.metrics.billedDurationMs) as billed_ms, max(record.metrics.maxMemoryUsedMB) as most_MB, max(record.metrics.memorySizeMB) as limit_MB, max(record.metrics.initDurationMs) as longest_init_ms by @log",
  "died": "filter type = \"platform.report\" and record.status != \"success\" or message = \"init failed\"\n| fields @timestamp, record.status, record.errorType, record.requestId, error_type, error_message\n| sort @timestamp desc\n| limit 200"
};
