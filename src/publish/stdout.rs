//! `stdout:` in place of a broker: messages as NDJSON, to try Hookswitch without any other software.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::dispatch::{ChannelLoss, PublishOutcome};

use super::{
    PublishError,
    broker_object::BrokerObject,
    channel::{ChannelCommand, ChannelEvent, ChannelTask},
    message::{Message, header_values},
    ndjson_body::NdjsonBody,
    publish_request::{AttemptEnd, EndedAttempt, PublishRequest, compose},
};

/// Lines that wait for the printer; beyond that the tasks wait.
const WAITING_LIMIT: usize = 64;
/// How long a halt waits for what is being printed: enough if standard output has a reader.
const GRACE: Duration = Duration::from_millis(50);

/// What the tasks of all destinations print on.
#[derive(Clone)]
pub(super) struct Printer(mpsc::Sender<(String, oneshot::Sender<()>)>);

impl Printer {
    /// The printer, and the end of its thread: it writes until an error.
    pub(super) fn new(
        mut out: impl Write + Send + 'static,
    ) -> (Self, impl Future<Output = PublishError>) {
        let (lines, mut waiting) = mpsc::channel::<(String, oneshot::Sender<()>)>(WAITING_LIMIT);
        // A reader that has stopped reading blocks a write for as long as it likes.
        let writing = tokio::task::spawn_blocking(move || {
            while let Some((line, written)) = waiting.blocking_recv() {
                // Otherwise its task has given it up, and the next process prints it.
                if !written.is_closed() {
                    out.write_all(line.as_bytes())?;
                    out.flush()?;
                    written.send(()).ok();
                }
            }
            io::Result::Ok(())
        });
        (Self(lines), async {
            match writing.await {
                Ok(Err(error)) => PublishError::Stdout(error),
                Ok(Ok(())) | Err(_) => PublishError::PartEnded { part: "printer" },
            }
        })
    }

    /// Returns when `line` was written; never if it cannot be written.
    async fn print(&self, line: String) {
        let (written, answer) = oneshot::channel();
        if self.0.send((line, written)).await.is_err() || answer.await.is_err() {
            // The printer's error ends the publisher.
            std::future::pending().await
        }
    }
}

impl ChannelTask {
    /// Prints until `halt`. What was not printed by then stays pending.
    pub(super) async fn print(self, printer: Printer, mut orders: mpsc::Receiver<ChannelCommand>) {
        for epoch in 1.. {
            self.tell(ChannelEvent::Opened { epoch, link: 1 }).await;
            loop {
                let order = tokio::select! {
                    biased;
                    () = self.halt.cancelled() => return,
                    order = orders.recv() => order,
                };
                let request = match order {
                    Some(ChannelCommand::Publish { request, .. }) => request,
                    Some(ChannelCommand::Close { .. }) => break,
                    None => return,
                };
                let late = async {
                    self.halt.cancelled().await;
                    tokio::time::sleep(GRACE).await;
                };
                let ended = tokio::select! {
                    ended = self.print_one(&printer, request) => ended,
                    () = late => return,
                };
                self.tell(ChannelEvent::AttemptsEnded(vec![ended])).await;
            }
            // Nothing is ordered after a close, so all that was ordered before it was printed.
            let (loss, why) = (
                ChannelLoss::Settled,
                "standard output was not read".to_owned(),
            );
            self.tell(ChannelEvent::Lost { loss, why }).await;
        }
    }

    async fn print_one(&self, printer: &Printer, request: PublishRequest) -> EndedAttempt {
        let since = Instant::now();
        let how = match compose(&self.context, &request).await {
            Ok(message) => {
                printer.print(line(&self.object, &message)).await;
                AttemptEnd::PublishOutcome(PublishOutcome::Confirmed)
            }
            Err(why) => AttemptEnd::NotSent(why),
        };
        EndedAttempt {
            attempt: request.attempt,
            how,
            took: since.elapsed(),
        }
    }
}

/// One message, under the names of its headers without their prefix.
#[derive(Serialize)]
struct PrintedMessage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<&'a str>,
    #[serde(flatten)]
    fields: BTreeMap<String, Value>,
    event: NdjsonBody<'a>,
}

fn line(object: &BrokerObject, message: &Message) -> String {
    let properties = &message.properties;
    let mut fields: BTreeMap<String, Value> = header_values(properties)
        .map(|(name, value)| {
            (
                name.trim_start_matches("hookswitch-").replace('-', "_"),
                value,
            )
        })
        .collect();
    for (name, value) in [
        ("type", properties.kind()),
        ("message_id", properties.message_id()),
        ("correlation_id", properties.correlation_id()),
        ("routing_key", &Some(message.routing_key.clone())),
    ] {
        // What is too long for a property is in the header of the same name.
        if let Some(value) = value {
            fields
                .entry(name.to_owned())
                .or_insert_with(|| value.as_str().into());
        }
    }
    if let Some(id) = fields.remove("message_id") {
        fields.insert("id".to_owned(), id);
    }
    if let Some(Value::String(json)) = fields.get("errors") {
        let errors = serde_json::from_str(json).expect("our own JSON");
        fields.insert("errors".to_owned(), errors);
    }
    let (queue, exchange) = match object {
        BrokerObject::Queue { name, .. } => {
            fields.remove("routing_key");
            (Some(name.as_str()), None)
        }
        BrokerObject::Exchange { name } => (None, Some(name.as_str())),
    };
    let line = PrintedMessage {
        queue,
        exchange,
        fields,
        event: NdjsonBody::of(&message.body),
    };
    serde_json::to_string(&line).expect("text, numbers and checked JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use lapin::{
        BasicProperties,
        types::{AMQPValue, FieldTable},
    };
    use serde_json::json;

    use crate::route::QueueType;

    use super::*;

    fn printed(object: &BrokerObject, body: &'static str) -> Value {
        let mut headers = FieldTable::default();
        for (name, value) in [
            ("hookswitch-message-id", "a long one"),
            ("hookswitch-errors", r#"[{"pointer":"/a","message":"no"}]"#),
            ("traceparent", "00-1-2-01"),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        headers.insert("hookswitch-body-bytes".into(), AMQPValue::LongLongInt(3));
        let message = Message {
            exchange: "x".into(),
            routing_key: "a.b".into(),
            properties: BasicProperties::default()
                .with_type("T".into())
                .with_message_id("sha256:0".into())
                .with_headers(headers),
            body: body.into(),
        };
        let text = line(object, &message);
        assert_eq!(text.find('\n'), Some(text.len() - 1), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_message_is_one_line_whatever_its_body_looks_like() {
        let exchange = BrokerObject::Exchange { name: "x".into() };
        let mut expected = json!({
            "exchange": "x", "routing_key": "a.b", "type": "T", "id": "a long one", "traceparent": "00-1-2-01",
            "errors": [{ "pointer": "/a", "message": "no" }], "body_bytes": 3, "event": { "a": "b \" c" },
        });
        let body = "{\n \"a\": \"b \\\" c\"\n}";
        assert_eq!(printed(&exchange, body), expected);

        let queue = BrokerObject::Queue {
            name: "q".into(),
            queue_type: QueueType::Quorum,
        };
        let fields = expected.as_object_mut().unwrap();
        fields.remove("exchange");
        fields.remove("routing_key");
        fields.insert("queue".into(), "q".into());
        fields.insert("event".into(), "no\njson".into());
        assert_eq!(printed(&queue, "no\njson"), expected);
    }

    /// Writes one byte at a time to the test, which may stop reading.
    struct Pipe(std::sync::mpsc::SyncSender<u8>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = bytes.first().map(|byte| self.0.send(*byte));
            sent.unwrap_or(Ok(()))
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len().min(1))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_is_printed_whole_or_not_at_all_until_the_reader_ends() {
        let (pipe, read) = std::sync::mpsc::sync_channel(0);
        let (printer, ended) = Printer::new(Pipe(pipe));
        let mut first = Box::pin(printer.print("1\n".to_owned()));
        let mut second = Box::pin(printer.print("2\n".to_owned()));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        // Its task is halted while the reader does not read.
        drop(second);
        let third = printer.print("3\n".to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            let bytes: Vec<u8> = read.iter().take(4).collect();
            String::from_utf8(bytes).unwrap()
        });
        tokio::join!(first, third);
        assert_eq!(reading.await.unwrap(), "1\n3\n");
        tokio::select! {
            () = printer.print("4\n".to_owned()) => panic!("it has no reader"),
            error = ended => assert!(matches!(error, PublishError::Stdout(_)), "{error}"),
        }
    }
}
