#!/usr/bin/env python3
"""Shows the main job on this machine: an image is pushed to ECR, `on-push` replicates it to another account; then `fanout`
fills in, through a queue, what was there before.

The registries and AWS APIs are emulated (`emulator stage`); the functions are the real release binaries, which
`cargo lambda` serves over the real Lambda Runtime API. Run it with `make demo`.
"""

import argparse
import json
import os
import pathlib
import signal
import sys

from failure import Failure, expect
from mapping import Queue, drain
from registry import End
from stage import FOLDER, MEMORY_MB, ROOT, Function, Stage

EVENT = "events/ecr-push.json"


def main():
    """The demo, from the first line to the last."""
    arguments = argparse.ArgumentParser(description="Replicates an image between two embedded registries.")
    arguments.add_argument("--target-dir", type=pathlib.Path, default=pathlib.Path("target"))
    target = ROOT / arguments.parse_args().target_dir
    # A line at a time, so that whoever reads through a pipe reads along; in any locale.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    os.chdir(ROOT)
    FOLDER.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    children = []
    try:
        run(target, children)
    except Failure as failure:
        print(f"\nThe demo failed: {failure}")
        for child in children:
            print(f"\nThe last lines of {child.log.relative_to(ROOT)} ({child.name}):")
            print("\n".join(f"  {line}" for line in child.tail()))
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.")
        return 130
    finally:
        for child in reversed(children):
            child.stop()
    return 0


def run(target, children):
    """Sets the stage, hands the event to `on-push` twice, has `fanout` fill in the rest, and compares."""
    emulator, on_push = target / "debug/emulator", target / "release/on-push"
    for binary in (emulator, on_push, target / "release/fanout"):
        expect(binary.is_file(), f"there is no {binary}; `make demo` builds it")
    stage = Stage(emulator, children)
    event = json.loads((ROOT / EVENT).read_text())
    introduce(stage, event, on_push)
    function = Function(stage, children)
    source, destination = (End(stage.about[name], FOLDER / "ca.pem") for name in ("source", "destination"))

    title("First run")
    result, wall = function.push(EVENT)
    seen = stage.report()
    tell(result, seen, wall)
    held, copied = source.copy(stage.about["tag"]), destination.copy(stage.about["tag"])
    check_first(result, seen, held, event)
    title("Both ends, read back over HTTPS and hashed here")
    compare(source, destination, held, copied, stage.about["tag"])
    stage.report()

    title("Second run: the same event once more, as EventBridge may deliver it")
    result, wall = function.push(EVENT)
    seen = stage.report()
    tell(result, seen, wall)
    check_second(result, seen, held)
    print("\nNothing was left to do. Finding that out cost one question at each end, and one for each manifest: is anything")
    print("attached to it that was not there before?")
    backfill(stage, function, source, destination)
    print("\nEvery image is there, and a sweep that finds nothing to do costs a list and a batch. The logs are in .demo.")


def backfill(stage, function, source, destination):
    """Has `fanout` find and copy what was pushed before there was an event for it, and sweep once more."""
    queue = Queue(stage.about["queue_url"])
    order = {"backfill": {"repository": f"{source.registry}/team/*"}}
    title(f"Backfill: one message for all that was pushed before, through the queue {queue.name}")
    found, batches = filled(queue, function, order)
    print(f"  batches      {len(batches)} invocations of fanout, of {', '.join(map(str, batches))} messages")
    released = stage.about["released"]
    held = {name: source.tags(name) for name in released}
    count = sum(map(len, held.values()))
    for name, tags in held.items():
        copied = destination.tags(f"mirror/{name}")
        print(f"  {name:<13}{len(tags)} tags, digests {'the same' if copied == tags else 'DIFFERENT'} at both ends")
        expect(copied == tags, f"{name} is {tags} at the source and {copied} at the destination")
    images = sum(len(set(tags.values())) for tags in held.values())
    expect(found["missing"] == count, f"{found['missing']} tags were missing, not {count}")
    expect(found["enqueued"] == images, f"{found['enqueued']} messages were enqueued for {images} images")
    expect(found["current"] == 1, "what on-push has copied was not found at the destination")

    title("The same message once more, as a schedule would send it")
    stage.report()
    found, _ = filled(queue, function, order)
    calls = stage.report()["aws"]
    expect(found["enqueued"] == 0 and found["current"] == count + 1, "the second backfill found something to do")
    expect("SendMessageBatch" not in calls, "the second backfill sent messages")
    dead = Queue(stage.about["dead_letter_queue_url"]).count()
    expect(dead == 0, f"{dead} messages are in the dead-letter queue")


def filled(queue, function, order):
    """Sends a backfill message and polls until the queue is empty; its summary, and the batches that it took."""
    before = len(function.backfills())
    print(f"$ aws sqs send-message --queue-url {queue.url} --message-body '{json.dumps(order)}'")
    queue.send(order)
    batches = drain(queue, function, FOLDER / "batch.json")
    (found,) = function.backfills()[before:]
    expect(found["finished"], f"the backfill did not end: {found}")
    names = ("listed", "matched", "current", "missing", "different", "enqueued")
    print(f"  found        {', '.join(f'{found[name]} {name}' for name in names)}")
    return found, batches


def introduce(stage, event, binary):
    """Says what stands where, and what happened."""
    source, destination, detail = stage.about["source"], stage.about["destination"], event["detail"]
    print("Transship: an image is pushed to ECR in one account, and on-push copies it to another account and region.")
    title("The stage: two ECR registries in two accounts, over TLS, all on this machine")
    print(f"  source       {source['registry']}/{source['repository']}")
    print(f"  destination  {destination['registry']}/{destination['repository']}  (not created yet)")
    print(f"  function     on-push, release binary of {megabytes(binary.stat().st_size)}, {MEMORY_MB} MB of memory")
    title(f"The event: {EVENT}")
    print(f"  {event['detail-type']}, {detail['action-type']} of {detail['repository-name']}:{detail['image-tag']}")
    print(f"  {detail['image-digest']}")
    pushed = stage.about["digest"]
    expect(detail["image-digest"] == pushed, f"{EVENT} names another image than the one that was pushed, {pushed}")


def tell(result, seen, wall):
    """Says what the function says of itself, and what the registries say of it."""
    manifests, blobs, size, requests = (result[key] for key in ("manifests", "blobs", "bytes", "requests"))
    calls = ", ".join(f"{name} {count}" for name, count in seen["aws"].items()) or "none"
    print(f"  outcome      {result['outcome']} in {result['duration_ms']} ms (the whole invocation: {wall:.1f} s)")
    print(f"  manifests    {manifests['pushed']} pushed, {manifests['present']} present")
    attached = result["referrers"]
    print(f"  attached     {attached['pushed']} pushed, {attached['present']} present")
    print(f"  blobs        {blobs['transferred']} transferred, {blobs['mounted']} mounted, {blobs['present']} present")
    print(f"  bytes        {megabytes(size['read'])} read, {megabytes(size['written'])} written")
    print(f"  buffer       {megabytes(result['peak_buffer_bytes'])} at its peak")
    print(f"  requests     {requests['source']} to the source, {requests['destination']} to the destination")
    print("  the same, as the registries counted:")
    for end in ("source", "destination"):
        kinds = ", ".join(f"{kind} {count}" for kind, count in seen[end]["kinds"].items())
        print(f"    {end:<13}{seen[end]['requests']}: {kinds}")
    print(f"    {'AWS APIs':<13}{calls}")


def check_first(result, seen, held, event):
    """The result must be true to the event, to the image and to the registries' journals."""
    expect(result["outcome"] == "synced", f"the outcome is {result['outcome']}, not synced")
    expect(result["digest"] == event["detail"]["image-digest"], "the result names another digest than the event")
    expect(result["manifests"]["pushed"] == 1 + len(held.platforms), "not every manifest was pushed")
    expect(result["referrers"]["pushed"] == len(held.referrers), "not everything that is attached was pushed")
    expect(result["blobs"]["transferred"] == len(held.blobs), "not every blob was transferred, or one of them twice")
    sent, received = seen["source"]["blob_bytes_sent"], seen["destination"]["blob_bytes_received"]
    for name, counted in (("read", sent), ("written", received)):
        told = result["bytes"][name]
        expect(
            told == counted == held.bytes,
            f"{told} bytes were {name} by the result, {counted} by the journal; the image has {held.bytes}",
        )
    check_requests(result, seen)


def check_second(result, seen, held):
    """The second run must be free, but for looking."""
    expect(result["outcome"] == "current", f"the outcome is {result['outcome']}, not current")
    manifests = 1 + len(held.platforms) + len(held.referrers)
    # ECR is asked once for the tag, its children and all that is attached.
    expect(seen["aws"] == {"BatchGetImage": 1}, f"the AWS APIs were called {seen['aws']}")
    for end, count in (("source", 1 + manifests), ("destination", 0)):
        expect(result["requests"][end] == count, f"{result['requests'][end]} requests to the {end}, not {count}")
    expect(result["bytes"]["read"] == result["bytes"]["written"] == 0, "bytes were moved")
    moved = seen["source"]["blob_bytes_sent"] + seen["destination"]["blob_bytes_received"]
    expect(moved == 0, f"the journals saw {moved} bytes of blobs")
    check_requests(result, seen)


def check_requests(result, seen):
    """What the function says of its requests must be what the registries counted."""
    for end in ("source", "destination"):
        told, counted = result["requests"][end], seen[end]["requests"]
        expect(told == counted, f"the result says {told} requests to the {end}, its journal says {counted}")


def compare(source, destination, held, copied, tag):
    """Shows both ends side by side; they must be equal."""
    platforms = {**held.platforms, **copied.platforms}
    rows = [(f"tag {tag}", held.tag, copied.tag), ("index", held.index, copied.index)]
    rows += [(name, held.platforms.get(name), copied.platforms.get(name)) for name in platforms]
    rows += [("its SBOM", digest, digest if digest in copied.referrers else None) for digest in held.referrers]
    expect(held.referrers, "nothing is attached to the demo's image")
    print(f"  {'':<16}{'source, ' + source.region:<26}destination, {destination.region}")
    for name, here, there in rows:
        print(f"  {name:<16}{short(here):<26}{short(there):<26}{'same' if here == there else 'DIFFERENT'}")
    counts = [f"{len(copy.blobs)}, {megabytes(copy.bytes)}" for copy in (held, copied)]
    print(f"  {'blobs':<16}{counts[0]:<26}{counts[1]:<26}{'same' if held.blobs == copied.blobs else 'DIFFERENT'}")
    for name, here, there in rows:
        expect(here == there, f"{name} is {here} at the source and {there} at the destination")
    expect(held.blobs == copied.blobs, "the two ends hold different blobs")


def title(text):
    print(f"\n{text}")


def short(digest):
    return digest[:19] + "…" if digest else "missing"


def megabytes(count):
    return f"{count / 1e6:.1f} MB" if count else "0 bytes"


if __name__ == "__main__":
    sys.exit(main())
