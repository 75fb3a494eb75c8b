//! Log lines in Lambda's JSON shape: one flat object, with the request id and what else the spans around it say.

use std::{fmt, io::Write, time::SystemTime};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::rfc3339;
use crate::{sync::STAGE, trace::TraceHeader};

/// Writes each event as a line to standard output.
///
/// At the top level of a line: `timestamp`, `level`, `message`, then the fields of the event and of all spans around it,
/// the innermost first. The runtime's span gives `requestId` and `xrayTraceId`, a stage of a sync `stage`.
///
/// Source: Lambda developer guide, "Configuring advanced logging controls for Lambda functions".
pub(super) struct JsonLines;

/// What a span says, for the lines within it.
struct Said(Map<String, Value>);

impl<S> Layer<S> for JsonLines
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Map::new();
        if attributes.metadata().target() == STAGE {
            said.insert("stage".to_owned(), attributes.metadata().name().into());
        }
        attributes.record(&mut Fields(&mut said));
        span.extensions_mut().insert(Said(said));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Said(said)) = span.extensions_mut().get_mut() {
            values.record(&mut Fields(said));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Said(said)) = span.extensions().get() {
                line.extend(said.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut Fields(&mut line));
        line.insert("timestamp".to_owned(), rfc3339(SystemTime::now()).into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.entry("message").or_insert_with(|| event.metadata().target().into());
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // Nobody is left to tell if standard output is gone.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }
}

/// Puts fields into a line.
struct Fields<'l>(&'l mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match TraceHeader::read(value).filter(|_| field.name() == "xrayTraceId") {
            // The runtime gives the whole header; its id is what lines are looked for by.
            Some(header) => self.put(field, header.id()),
            None => self.put(field, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
