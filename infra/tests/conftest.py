import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "sam")]

import stack as stacks  # noqa: E402


@pytest.fixture(scope="session")
def template() -> dict:
    """After SAM's transform."""
    return stacks.transformed()


# Everything that there is to set, set.
EVERYTHING = {
    "ConfigurationParameter": "/transship/config",
    "ConfigurationVersion": "3",
    "SourceRepositoryArns": "arn:aws:ecr:us-east-1:111122223333:repository/team/*",
    "ListedRegistryArns": "arn:aws:ecr:us-east-1:111122223333:repository/*",
    "DestinationRepositoryArns": ",".join(
        ["arn:aws:ecr:eu-west-1:111122223333:repository/mirror/*", "arn:aws:ecr:us-west-2:111122223333:repository/copy"]
    ),
    "CreatedRepositoryArns": "arn:aws:ecr:eu-west-1:111122223333:repository/mirror/*",
    "RepositoryPolicyArns": "arn:aws:ecr:eu-west-1:111122223333:repository/mirror/*",
    "DeletedRepositoryArns": "arn:aws:ecr:eu-west-1:111122223333:repository/mirror/*",
    "ScannedRepositoryArns": "arn:aws:ecr:us-east-1:111122223333:repository/team/*",
    "RepositoryKeyArns": "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555",
    "PublicRegistry": "true",
    "PublicRepositoryArns": "arn:aws:ecr-public::111122223333:repository/app",
    "CreatedPublicRepositoryArns": "arn:aws:ecr-public::111122223333:repository/app",
    "DeletedPublicRepositoryArns": "arn:aws:ecr-public::111122223333:repository/app",
    "SecretArns": "arn:aws:secretsmanager:us-east-1:111122223333:secret:ghcr-??????",
    "RegistryRoleArns": "arn:aws:iam::222233334444:role/transship-push",
    "KeyArns": "arn:aws:kms:us-east-1:111122223333:key/66666666-7777-8888-9999-000000000000",
    "DeleteEvents": "true",
    "ReferrerEvents": "true",
    "ScanEvents": "true",
    "MaximumReceives": "16",
    "SweepSchedule": "rate(1 day)",
    "OnPushConcurrency": "50",
    "QueueKeyArn": "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "SubnetIds": "subnet-0aaaaaaaaaaaaaaaa,subnet-0bbbbbbbbbbbbbbbb",
    "SecurityGroupIds": "sg-0aaaaaaaaaaaaaaaa",
    "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:operations",
}


@pytest.fixture(scope="session")
def full(template) -> stacks.Stack:
    """The stack with all parameters given."""
    return stacks.Stack(template, **EVERYTHING)


@pytest.fixture(scope="session")
def plain(template) -> stacks.Stack:
    """The stack with a configuration and nothing else."""
    return stacks.Stack(template, Configuration='{"rules": []}')
