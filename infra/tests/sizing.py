"""The calculation of docs/sizing.md: from what docs/benchmarks.md measured and the published prices."""

from __future__ import annotations

# --- Measured (docs/benchmarks.md, "Profile": by destination, images at once, blobs at once) ---
CPU_MS_PER_MIB = 2.9
RTT_20_SMALL_IMAGE_S = 1 / 5.4
RTT_20_64_LAYERS_S = 0.50

# --- Lambda's (developer guide, "Lambda quotas", "Configure Lambda function memory") ---
MB_PER_CPU = 1769
NETWORK_MIB_S = 625e6 / 8 / 2**20

# --- Chosen: a typical image, and ECR's waits for it ---
IMAGE_MIB = 100
ECR_WAITS_S = 0.7

# --- Published prices, us-east-1, US dollars ---
GB_S = {"arm64": 0.0000133334, "x86_64": 0.0000166667}
REQUEST = 0.20e-6
SQS_REQUEST = 0.40e-6
REGION_GB = 0.02
INTERNET_GB = 0.09
NAT_GB = 0.045
ENDPOINT_HOUR = 0.01
ENDPOINT_GB = 0.01
STORED_GB_MONTH = 0.10
LOG_GB = 0.50
TRACE = 5e-6
METRIC_MONTH = 0.30
ALARM_METRIC_MONTH = 0.10
DASHBOARD_MONTH = 3.00
INSIGHTS_GB = 0.005
HOURS = 730


def cpu_mib_s(memory: int) -> float:
    """What the CPU that comes with so many MB of memory can copy."""
    return memory / MB_PER_CPU * 1000 / CPU_MS_PER_MIB


def mib_s(memory: int) -> float:
    return min(NETWORK_MIB_S, cpu_mib_s(memory))


def terabyte(memory: int, architecture: str) -> tuple[float, float, float]:
    """Seconds of function time, GB-seconds and dollars for 10^12 bytes."""
    seconds = 1e12 / 2**20 / mib_s(memory)
    gb_s = seconds * memory / 1024
    return seconds, gb_s, gb_s * GB_S[architecture]


def image_s(memory: int) -> float:
    """One image of IMAGE_MIB from ECR to ECR, 20 ms away."""
    return IMAGE_MIB / mib_s(memory) + RTT_20_64_LAYERS_S + ECR_WAITS_S


def thousand(memory: int, architecture: str) -> dict[str, float]:
    """What a thousand such images cost."""
    gb_s = 1000 * image_s(memory) * memory / 1024
    gb = 1000 * IMAGE_MIB * 2**20 / 1e9
    return {
        "seconds": image_s(memory),
        "gb_s": gb_s,
        "duration": gb_s * GB_S[architecture],
        "requests": 1000 * REQUEST,
        "sqs": 3 * 1000 * SQS_REQUEST,
        "logs": 1000 * 3e3 / 1e9 * LOG_GB,
        "traces": 1000 * TRACE,
        "gb": gb,
        "region": gb * REGION_GB,
        "internet": gb * INTERNET_GB,
    }


def endpoints(number: int, zones: int = 2) -> float:
    """What so many interface endpoints cost in a month."""
    return number * zones * HOURS * ENDPOINT_HOUR


def metrics(destinations: int, deletes: bool = False) -> int:
    """Custom metrics: 12 for each function and destination (2 more where a rule has `delete`), 3 for each function, 6 of
    fanout's batches."""
    return (14 if deletes else 12) * 2 * destinations + 3 * 2 + 6
