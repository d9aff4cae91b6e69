//! Drift counts: members and enum values that the sender uses and our schemas do not know (schemas/README.md, "What a
//! schema refuses").

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// Maximum number of series; further ones are counted together in [`DriftView::dropped`].
const SERIES_LIMIT: usize = 1_000;

/// Counts drift by (event type, JSON Pointer), bounded.
#[derive(Debug, Default)]
pub struct DriftCounts(Mutex<DriftView>);

/// What `/drift` shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DriftView {
    /// Occurrences by event type and JSON Pointer (array indices written as `*`).
    pub series: BTreeMap<String, BTreeMap<String, u64>>,
    /// Occurrences beyond the maximum number of series.
    pub dropped: u64,
    #[serde(skip)]
    count: usize,
}

impl DriftCounts {
    pub fn note(&self, event_type: &str, pointer: &str) {
        let mut view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = view
            .series
            .get_mut(event_type)
            .and_then(|pointers| pointers.get_mut(pointer))
        {
            *count += 1;
        } else if view.count < SERIES_LIMIT {
            view.count += 1;
            view.series
                .entry(event_type.to_owned())
                .or_default()
                .insert(pointer.to_owned(), 1);
        } else {
            view.dropped += 1;
        }
    }

    /// All series at this moment.
    #[must_use]
    pub fn view(&self) -> DriftView {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drift_counts_are_bounded_and_say_what_was_dropped() {
        let state = DriftCounts::default();
        for n in 0..SERIES_LIMIT + 5 {
            state.note("T", &format!("/data/{n}"));
        }
        state.note("T", "/data/0");
        let view = state.view();
        assert_eq!(view.dropped, 5);
        assert_eq!(view.series["T"]["/data/0"], 2);
    }
}
