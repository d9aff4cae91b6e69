//! Repeatable requests (OASIS Repeatable Requests 1.0): a repeated request gets the first result.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::response::ApiResponse;
use crate::api_error::ApiError;

/// How many results are kept; the oldest are dropped first. A client retries for minutes, not for this many requests.
const KEPT: usize = 10_000;

/// What identifies a request, to tell whether another one with the same id is the same request.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RequestFingerprint([u8; 32]);

impl RequestFingerprint {
    pub(super) fn of(method: &str, path_and_query: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        // Neither a method nor a path holds a line end, so the parts cannot run into each other.
        hash.update(method);
        hash.update(b"\n");
        hash.update(path_and_query);
        hash.update(b"\n");
        hash.update(body);
        Self(hash.finalize().into())
    }
}

/// The first results by `Repeatability-Request-ID`.
#[derive(Default)]
pub(super) struct Repeats {
    kept: Mutex<StoredResponses>,
}

#[derive(Default)]
struct StoredResponses {
    by_id: HashMap<String, (RequestFingerprint, ApiResponse)>,
    /// Oldest first; the same ids as in `by_id`.
    order: VecDeque<String>,
}

impl Repeats {
    /// Runs the request of this id if none of this id ran; otherwise gives the first one's answer.
    ///
    /// The lock is held while the request runs: the second of two concurrent ones waits for the first one's answer.
    /// Requests wait for each other in the world anyway.
    ///
    /// # Errors
    /// 400 if the id is known from another request.
    pub(super) fn once(
        &self,
        id: &str,
        print: RequestFingerprint,
        run: impl FnOnce() -> ApiResponse,
    ) -> Result<ApiResponse, ApiError> {
        // A panic in `run` leaves nothing inconsistent: results are stored after it.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // GUIDs are equal in any case of their letters.
        let id = id.to_ascii_lowercase();
        if let Some((known, answer)) = kept.by_id.get(&id) {
            if *known != print {
                return Err(ApiError::bad_request(format!(
                    "Repeatability-Request-ID {id} belongs to another request (its method, path or body differs): \
                     use a new id for a new request"
                )));
            }
            return Ok(answer.clone());
        }
        let answer = run();
        if kept.order.len() >= KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_id.remove(&oldest);
        }
        kept.order.push_back(id.clone());
        kept.by_id.insert(id, (print, answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::*;

    fn print(body: &str) -> RequestFingerprint {
        RequestFingerprint::of(
            "POST",
            "/calling/callConnections?api-version=1",
            body.as_bytes(),
        )
    }

    #[test]
    fn a_repeated_request_gets_the_first_result_and_does_not_run() {
        let repeats = Repeats::default();
        let first = repeats.once("A-1", print("x"), || ApiResponse::empty(201));
        let second = repeats.once("a-1", print("x"), || panic!("it ran twice"));
        assert_eq!(first, Ok(ApiResponse::empty(201)));
        assert_eq!(first, second);
    }

    #[test]
    fn an_id_of_another_request_is_refused() {
        let repeats = Repeats::default();
        repeats
            .once("1", print("x"), || ApiResponse::empty(201))
            .expect("the first");
        for other in [
            print("y"),
            RequestFingerprint::of("POST", "/calling/recordings?api-version=1", b"x"),
            RequestFingerprint::of("DELETE", "/calling/callConnections?api-version=1", b"x"),
        ] {
            let fault = repeats
                .once("1", other, || panic!("it ran"))
                .expect_err("another request");
            assert_eq!(fault.status, 400);
            assert!(fault.message.contains("another request"), "{fault}");
        }
    }

    #[test]
    fn the_oldest_results_go_and_the_newest_stay() {
        let repeats = Repeats::default();
        for id in 0..=KEPT {
            repeats
                .once(&id.to_string(), print("x"), || ApiResponse::empty(200))
                .expect("a new id");
        }
        assert_eq!(
            repeats.once("1", print("x"), || ApiResponse::empty(500)),
            Ok(ApiResponse::empty(200))
        );
        assert_eq!(
            repeats.once("0", print("x"), || ApiResponse::empty(500)),
            Ok(ApiResponse::empty(500))
        );
        let kept = repeats.kept.lock().expect("no panic");
        assert_eq!((kept.by_id.len(), kept.order.len()), (KEPT, KEPT));
    }

    #[test]
    fn of_many_at_the_same_moment_one_runs() {
        let repeats = Repeats::default();
        let (runs, start) = (AtomicUsize::new(0), Barrier::new(8));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let answer = repeats.once("1", print("x"), || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        ApiResponse::empty(201)
                    });
                    assert_eq!(answer, Ok(ApiResponse::empty(201)));
                });
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}
