//! Where a queue is: its ARN, which comes with every message, and its URL, which the API wants.

use crate::provider::aws_domain;

/// What a queue's ARN says: `arn:PARTITION:sqs:REGION:ACCOUNT:NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address<'a> {
    region: &'a str,
    account: &'a str,
    name: &'a str,
}

impl<'a> Address<'a> {
    /// Reads an ARN; `None`: it is no queue's.
    pub(super) fn of_arn(arn: &'a str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        match parts[..] {
            ["arn", _, "sqs", region, account, name] if ![region, account, name].contains(&"") => {
                Some(Self { region, account, name })
            }
            _ => None,
        }
    }

    /// Whether `url` is this queue's, at whatever endpoint.
    pub(super) fn is_at(&self, url: &str) -> bool {
        let mut parts = url.trim_end_matches('/').rsplit('/');
        parts.next() == Some(self.name) && parts.next() == Some(self.account)
    }

    /// The URL at the region's public endpoint. Where an endpoint is configured, calls go there all the same.
    ///
    /// Source: Amazon SQS developer guide, "Queue and message identifiers".
    pub(super) fn url(&self) -> String {
        format!("https://sqs.{}.{}/{}/{}", self.region, aws_domain(self.region), self.account, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_gives_the_url() {
        for (arn, url) in [
            ("arn:aws:sqs:eu-west-1:111122223333:work", "https://sqs.eu-west-1.amazonaws.com/111122223333/work"),
            (
                "arn:aws-cn:sqs:cn-north-1:111122223333:work.fifo",
                "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/work.fifo",
            ),
        ] {
            let address = Address::of_arn(arn).unwrap();
            assert_eq!(address.url(), url);
            assert!(address.is_at(url));
        }
        for none in ["", "work", "arn:aws:sns:eu-west-1:111122223333:work", "arn:aws:sqs:eu-west-1::work"] {
            assert_eq!(Address::of_arn(none), None, "{none}");
        }
    }

    #[test]
    fn a_url_is_the_queues_by_account_and_name() {
        let work = Address::of_arn("arn:aws:sqs:eu-west-1:111122223333:work").unwrap();
        assert!(work.is_at("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/111122223333/work"));
        assert!(work.is_at("http://127.0.0.1:9324/111122223333/work/"));
        for other in ["http://127.0.0.1/444455556666/work", "http://127.0.0.1/111122223333/works", "work"] {
            assert!(!work.is_at(other), "{other}");
        }
    }
}
