//! The queues that messages came from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{SqsQueue, address::Address};
use crate::aws::Aws;

/// The queues that messages came from, each made once.
#[derive(Debug)]
pub struct SourceQueues {
    aws: Arc<Aws>,
    /// `TRANSSHIP_QUEUE_URL`.
    configured: Option<String>,
    made: Mutex<HashMap<String, Arc<SqsQueue>>>,
}

impl SourceQueues {
    /// None is known yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, configured: Option<String>) -> Self {
        Self { aws, configured, made: Mutex::default() }
    }

    /// The queue with this ARN; `None`: it is no queue's.
    ///
    /// A receipt is good at the queue that gave it and nowhere else, so a message's own ARN decides. Where the
    /// configured URL is that queue's, it is used as it stands: it may name an endpoint that can't be guessed.
    #[must_use]
    pub fn of(&self, arn: &str) -> Option<Arc<SqsQueue>> {
        let address = Address::of_arn(arn)?;
        // Held for a look-up; a poisoned map still holds whole entries.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = made.get(arn) {
            return Some(Arc::clone(queue));
        }
        let url = self.configured.clone().filter(|url| address.is_at(url)).unwrap_or_else(|| address.url());
        let queue = Arc::new(SqsQueue::new(Arc::clone(&self.aws), url));
        made.insert(arn.to_owned(), Arc::clone(&queue));
        Some(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_messages_own_queue_is_asked_by_the_configured_url_only_if_it_is_that_queue() {
        let configured = "http://127.0.0.1:9324/111122223333/work";
        let queues = SourceQueues::new(Arc::default(), Some(configured.to_owned()));
        let url = |arn: &str| queues.of(arn).map(|queue| queue.url().to_owned());
        assert_eq!(url("arn:aws:sqs:eu-west-1:111122223333:work").as_deref(), Some(configured));
        assert_eq!(
            url("arn:aws:sqs:eu-west-1:111122223333:other").as_deref(),
            Some("https://sqs.eu-west-1.amazonaws.com/111122223333/other")
        );
        assert_eq!(url("arn:aws:s3:::bucket"), None);
        let again = "arn:aws:sqs:eu-west-1:111122223333:other";
        assert!(Arc::ptr_eq(&queues.of(again).unwrap(), &queues.of(again).unwrap()), "made once");
    }
}
