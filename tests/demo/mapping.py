"""A small event source mapping: what Lambda does between an SQS queue and a function, over SQS's own wire protocol."""

import datetime
import hashlib
import hmac
import json
import urllib.error
import urllib.parse
import urllib.request

from failure import Failure, expect

REGION, ACCESS_KEY, SECRET_KEY = "us-east-1", "AKIA111122223333", "demo"

# What an event source mapping takes at most without a batching window.
BATCH = 10


class Queue:
    """One queue: AWS JSON 1.0, signed with Signature Version 4."""

    def __init__(self, url):
        self.url = url
        account, self.name = url.rsplit("/", 2)[1:]
        self.arn = f"arn:aws:sqs:{REGION}:{account}:{self.name}"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(self, body):
        self.call("SendMessage", MessageBody=json.dumps(body))

    def receive(self):
        """Up to a batch of messages, which are hidden from now on."""
        options = {"MaxNumberOfMessages": BATCH, "WaitTimeSeconds": 1, "MessageSystemAttributeNames": ["All"]}
        return self.call("ReceiveMessage", **options).get("Messages", [])

    def delete(self, messages):
        entries = [{"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]} for number, one in enumerate(messages)]
        failed = self.call("DeleteMessageBatch", Entries=entries).get("Failed", []) if entries else []
        expect(not failed, f"the queue did not delete all messages: {failed}")

    def count(self):
        """Messages that are in it, hidden or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.call("GetQueueAttributes", AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def call(self, operation, **body):
        url = urllib.parse.urlsplit(self.url)
        payload = json.dumps({"QueueUrl": self.url, **body}).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "Host": url.netloc,
            "X-Amz-Date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Target": f"AmazonSQS.{operation}",
        }
        headers["Authorization"] = signature(headers, payload)
        request = urllib.request.Request(f"{url.scheme}://{url.netloc}/", payload, headers)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failure(f"{operation} was answered with {error.code}: {error.read().decode()}") from error


def signature(headers, payload):
    """Signature Version 4 of a POST to `/`."""
    stamp = headers["X-Amz-Date"]
    names = sorted(name.lower() for name in headers)
    lines = {name.lower(): value for name, value in headers.items()}
    canonical = "\n".join(
        ["POST", "/", "", *(f"{name}:{lines[name]}" for name in names), "", ";".join(names), digest(payload)]
    )
    scope = f"{stamp[:8]}/{REGION}/sqs/aws4_request"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest(canonical.encode())])
    made = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={';'.join(names)}, Signature={made}"


def digest(payload):
    return hashlib.sha256(payload).hexdigest()


def drain(queue, function, file):
    """Receives, invokes and deletes until the queue is empty; how many messages each invocation was given."""
    batches = []
    while messages := queue.receive():
        file.write_text(json.dumps({"Records": [record(queue, message) for message in messages]}, indent=2))
        answer, _ = function.invoke("fanout", file, quiet=True)
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        # What failed stays, and is seen again when its visibility timeout is over.
        queue.delete([message for message in messages if message["MessageId"] not in failed])
        expect(not failed, f"{len(failed)} messages failed; .demo/function.log says why")
        batches.append(len(messages))
    left = queue.count()
    expect(left == 0, f"{left} messages are left in the queue")
    return batches


def record(queue, message):
    """A message as the function's event holds it."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": REGION,
    }
