//! A dead letter: what was asked, unchanged, and why it can't be done. Pure.

use crate::{error::Error, trace::TraceHeader};

/// A message that can never succeed, to be put aside.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The body, as it came: whoever moves it back to its queue has the very message again.
    pub body: String,
    /// Why.
    pub reason: Error,
    /// The id that it had in its queue.
    pub message_id: String,
    /// Its group there, FIFO or fair.
    pub group: Option<String>,
    /// The trace that it belongs to.
    pub trace: Option<TraceHeader>,
}

/// Body and attributes of a message in all. Source: Amazon SQS developer guide, "Message quotas", since 2025-08.
const MAX_BYTES: usize = 1 << 20;

/// The longest `error_message`, in characters. Chosen: what a console shows, and far below the limit of a message.
const MAX_REASON_CHARS: usize = 4000;

/// The type of all our attributes; it counts.
pub(super) const STRING: &str = "String";

impl DeadLetter {
    /// The attributes, names and values, as far as they fit beside the body: the body is what must not be lost, the
    /// reason stands in the log besides.
    pub(super) fn attributes(&self) -> Vec<(&'static str, String)> {
        let message: String = self.reason.message.chars().filter(|c| is_taken(*c)).take(MAX_REASON_CHARS).collect();
        let mut left = MAX_BYTES.saturating_sub(self.body.len());
        let mut attributes = Vec::new();
        for (name, value) in [
            ("error_type", self.reason.error_type.name().to_owned()),
            ("error_message", message),
            ("message_id", self.message_id.clone()),
        ] {
            // Part of a sentence is better than none; part of a name or an id is none.
            let room = left.saturating_sub(name.len() + STRING.len());
            let value = if name == "error_message" { cut(value, room) } else { value };
            if value.len() > room {
                break;
            }
            // SQS takes no empty value.
            if !value.is_empty() {
                left = room - value.len();
                attributes.push((name, value));
            }
        }
        attributes
    }
}

/// The characters that SQS takes, control characters aside. Source: Amazon SQS API reference, `SendMessage`.
fn is_taken(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// The beginning of `text`, of at most so many bytes.
fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorType;

    fn letter(body_bytes: usize, message: &str) -> DeadLetter {
        DeadLetter {
            body: "x".repeat(body_bytes),
            reason: Error::new(ErrorType::Denied, message),
            message_id: "059f36b4".to_owned(),
            group: None,
            trace: None,
        }
    }

    fn bytes(letter: &DeadLetter) -> usize {
        let attributes = letter.attributes();
        letter.body.len()
            + attributes.iter().map(|(name, value)| name.len() + STRING.len() + value.len()).sum::<usize>()
    }

    #[test]
    fn a_letter_says_why_and_which_it_was() {
        let attributes = letter(10, "no\u{1} \u{ffff}way\n").attributes();
        let expected = [("error_type", "Denied"), ("error_message", "no way"), ("message_id", "059f36b4")];
        assert_eq!(attributes, expected.map(|(name, value)| (name, value.to_owned())));
        let names: Vec<_> = letter(10, "").attributes().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["error_type", "message_id"], "SQS takes no empty value");
        assert_eq!(letter(0, &"y".repeat(9000)).attributes()[1].1.len(), MAX_REASON_CHARS);
    }

    #[test]
    fn whatever_the_body_leaves_room_for_is_said_and_never_more() {
        let message = "ä".repeat(3000);
        for room in (0..200).chain([4000, 7000]) {
            let letter = letter(MAX_BYTES - room, &message);
            assert!(bytes(&letter) <= MAX_BYTES, "{room}");
            let said = |wanted: &str| letter.attributes().iter().any(|(name, _)| *name == wanted);
            assert_eq!(said("error_type"), room >= 22, "{room}");
            assert_eq!(said("error_message"), room >= 22 + 19 + 2, "{room}");
        }
        assert_eq!(bytes(&letter(MAX_BYTES, "x")), MAX_BYTES);
    }
}
