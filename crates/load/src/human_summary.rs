//! The outcome for people.

use std::fmt::Write;

use super::{Percentiles, Summary};

/// A few lines that say how it went.
#[must_use]
pub fn describe(summary: &Summary) -> String {
    let facts = summary.facts();
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    let seed = facts
        .seed
        .map_or(String::new(), |seed| format!(", seed {seed}"));
    line(format!("run {}{seed}", facts.run));
    let mut sent = format!(
        "sent       {} events of {} calls, {} accepted",
        facts.events, facts.calls, facts.accepted
    );
    if let (Some(seconds), Some(rate)) = (facts.seconds_sending, facts.events_per_second) {
        append(
            &mut sent,
            format_args!(" in {seconds:.1} s: {rate:.0} a second"),
        );
    }
    line(sent);
    if let Some(answers) = facts.answers {
        let answers: Vec<String> = answers
            .iter()
            .map(|(answer, count)| format!("{answer} {count} times"))
            .collect();
        line(format!("answers    {}", answers.join(", ")));
    }
    if let Some(latency) = facts.answer_ms {
        line(format!("answered   {}", percentiles(&latency)));
    }
    if let (Some(delivered), Some(messages), Some(repeats)) =
        (facts.delivered, facts.messages, facts.repeats)
    {
        line(format!(
            "delivered  {delivered} events as {messages} messages, {repeats} repeats in a row"
        ));
    }
    if let Some(latency) = facts.delivery_ms {
        line(format!("consumed   {}", percentiles(&latency)));
    }
    for (queue, messages) in facts.queues {
        if messages > 0 {
            line(format!("  {queue}: {messages}"));
        }
    }
    for breach in summary.breaches() {
        line(format!("BREACH     {breach}"));
    }
    if summary.is_interrupted() {
        line("stopped before its end; the above holds for what was sent until then".to_owned());
    } else if summary.is_good() && facts.delivered.is_some() {
        line("good: every accepted event came out, unchanged, in the order of its call".to_owned());
    }
    text
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("memory takes text");
}

fn percentiles(latency: &Percentiles) -> String {
    format!(
        "p50 {:.1} ms, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}",
        latency.p50, latency.p90, latency.p99, latency.p999, latency.max
    )
}
