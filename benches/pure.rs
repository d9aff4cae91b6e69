//! The cost of one 700-byte event of the GA generation in the pure modules, with baselines in the same run, so that
//! ratios can be read on any machine. `cargo bench --bench pure`: about a minute, on one thread.

use std::{
    collections::HashMap,
    fs,
    hint::black_box,
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use hookswitch::{
    admit::{self, Admission, AdmissionDecision, LruSlot, Offer},
    catalog::{self, Catalog},
    config::{App, Auth, EventGrid, OnInvalid, OnUnknown},
    dispatch::{
        self, ChannelId, DeliveryId, Dispatcher, DispatcherInput, DispatcherOutput, Lane,
        PendingDelivery,
    },
    envelope::{self, CallbackHead, DecodeLimits, Element},
    event::{AppName, Event},
    ingress::{Pipeline, RequestFacts},
    route::{Destination, DestinationId, QueueType, Route, Router, Sink},
};
use serde_json::Value;

/// The inputs of a run, prepared before anything is timed.
struct Scene {
    /// A callback as the service sends it: an array of one event.
    body: Bytes,
    event: Event,
    catalog: Arc<Catalog>,
    app: App,
}

impl Scene {
    fn set() -> Self {
        let body = callback();
        let event = decode(&body);
        let catalog = Arc::new(Catalog::builtin().expect("the built-in files are good"));
        assert_eq!(
            catalog.examine(&event).verdict,
            catalog::Validity::Valid,
            "an invalid event would take another way than the one to be timed"
        );
        let name = "contoso".to_owned();
        let app = App {
            name: AppName::try_from(name).expect("it is a good name"),
            call_key_from_path: false,
            on_invalid: OnInvalid::Quarantine,
            on_unknown: OnUnknown::Route,
            pass_query: Vec::new(),
            event_grid: EventGrid::Off,
            allowed_origins: Vec::new(),
            allowed_rate: None,
            rate: None,
            auth: Auth::None,
        };
        Self {
            body,
            event,
            catalog,
            app,
        }
    }

    fn pipeline(&self) -> Pipeline {
        Pipeline::new(
            vec![self.app.clone()],
            routes(),
            5_000,
            Arc::new(ArcSwap::new(self.catalog.clone())),
        )
    }

    fn offer(&self) -> Offer {
        let pipeline = self.pipeline();
        let mut offers = pipeline
            .read(&head(), &self.body)
            .and_then(|elements| pipeline.prepare(&self.app, elements, &RequestFacts::default()))
            .expect("it is a good callback");
        offers.pop().expect("it has one event")
    }
}

/// One of our own payloads without its whitespace, as the service sends it: 714 bytes.
fn callback() -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/events/ga/RecognizeCompleted.choice.json");
    let text = fs::read(&path).expect("the payload is in the repository");
    let value: Value = serde_json::from_slice(&text).expect("it is JSON");
    let body = Bytes::from(value.to_string());
    assert!(
        (650..=750).contains(&body.len()),
        "{} has {} bytes: the figures are about 700",
        path.display(),
        body.len()
    );
    body
}

fn head() -> CallbackHead<'static> {
    let mut head = CallbackHead::default();
    head.header("content-type", b"application/json; charset=utf-8");
    head
}

fn decode(body: &Bytes) -> Event {
    let limits = DecodeLimits::new(5_000);
    let mut elements = envelope::decode(&head(), body, &limits).expect("it is a good callback");
    match elements.pop() {
        Some(Element::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

/// Two routes, of which one matches the event: a partitioned queue, as in the annotated configuration.
fn routes() -> Vec<Route> {
    let queue = |name: &str, kinds| Route {
        name: name.to_owned(),
        app: None,
        kinds,
        types: Vec::new(),
        generations: Vec::new(),
        filters: Vec::new(),
        sink: Sink::Queue {
            name: name.to_owned(),
            partitions: NonZeroU32::new(4),
            queue_type: QueueType::Quorum,
        },
    };
    vec![
        queue("contoso.calls", Vec::new()),
        queue("contoso.held", vec![hookswitch::event::Kind::Hold]),
    ]
}

/// The cost of smaller tasks: they give the scale of everything below.
fn baselines(criterion: &mut Criterion, scene: &Scene) {
    let mut group = criterion.benchmark_group("baseline");
    group.throughput(Throughput::Bytes(scene.body.len() as u64));
    group.bench_function("serde_json to Value", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Value>(black_box(&scene.body)));
    });
    group.bench_function("xxh3 digest", |bencher| {
        bencher.iter(|| envelope::digest(black_box(&scene.body)));
    });
    group.finish();
}

fn receive(criterion: &mut Criterion, scene: &Scene) {
    let mut group = criterion.benchmark_group("receive");
    let limits = DecodeLimits::new(5_000);
    let head = head();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| envelope::decode(&head, black_box(&scene.body), &limits));
    });
    group.bench_function("validate", |bencher| {
        bencher.iter(|| scene.catalog.examine(black_box(&scene.event)));
    });
    let router = Router::new(routes());
    let found = scene.catalog.examine(&scene.event);
    group.bench_function("route", |bencher| {
        bencher.iter(|| {
            router.route(
                &scene.app.name,
                black_box(&scene.event),
                found.kind,
                found.generation.as_ref(),
            )
        });
    });
    let pipeline = scene.pipeline();
    let request = RequestFacts::default();
    // The path of a callback between its last byte and the journal, including the creation of the offer.
    group.bench_function("decode + validate + route", |bencher| {
        bencher.iter(|| {
            let elements = pipeline.read(&head, black_box(&scene.body))?;
            pipeline.prepare(&scene.app, elements, &request)
        });
    });
    group.finish();
}

/// One event admitted, with what its transaction would write, committed and settled. Each has an id of its own, so that
/// none is a duplicate; creating it is not timed.
fn admission(criterion: &mut Criterion, scene: &Scene) {
    let offer = scene.offer();
    let mut admission = Admission::new(admit::AdmissionLimits::default());
    let mut known: HashMap<Destination, DestinationId> = HashMap::new();
    let mut number = 0_u128;
    let mut now = 0;
    criterion.bench_function("admission", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                let mut offer = offer.clone();
                offer.identity.digest = number;
                offer
            },
            |offer| {
                now += 1;
                admission.begin(now);
                let verdict = admission.decide(&scene.app.name, &offer, &mut |destination| {
                    let next = u32::try_from(known.len()).expect("there are four");
                    *known.entry(destination).or_insert(DestinationId(next))
                });
                black_box(admission.changes());
                admission.commit();
                for slot in slots(&verdict) {
                    admission.settled(slot);
                }
                offer
            },
            BatchSize::SmallInput,
        );
    });
}

fn slots(verdict: &AdmissionDecision) -> impl Iterator<Item = LruSlot> {
    let placed = match verdict {
        AdmissionDecision::New { placed, .. } => placed.as_slice(),
        AdmissionDecision::Duplicate => panic!("each event is new"),
    };
    placed
        .iter()
        .filter_map(|placed| placed.line.map(|line| line.slot))
}

/// One delivery through the dispatcher: accepted, published, confirmed, settled, while 10,000 others of 1,000 calls
/// wait.
fn dispatcher(criterion: &mut Criterion) {
    const CHANNEL: ChannelId = ChannelId(0);
    let mut dispatcher = Dispatcher::new(dispatch::DispatcherSettings {
        await_settled: true,
        ..dispatch::DispatcherSettings::default()
    });
    let began = Instant::now();
    let mut out = Vec::new();
    let accepted = |number: u64, call: u64| {
        DispatcherInput::Accepted(PendingDelivery {
            delivery: DeliveryId(number),
            destination: DestinationId(0),
            channel: CHANNEL,
            lane: Some(Lane { family: 0, call }),
            unknown: false,
        })
    };
    // The waiting ones are on another channel, which never opens.
    for number in 1..=10_000_u64 {
        let DispatcherInput::Accepted(waiting) = accepted(number, number % 1_000) else {
            continue;
        };
        let waiting = PendingDelivery {
            destination: DestinationId(1),
            channel: ChannelId(1),
            ..waiting
        };
        dispatcher.step(Duration::ZERO, DispatcherInput::Accepted(waiting), &mut out);
    }
    let opened = DispatcherInput::Opened { channel: CHANNEL };
    dispatcher.step(began.elapsed(), opened, &mut out);
    let mut number = 10_000;
    criterion.bench_function("dispatcher cycle", |bencher| {
        bencher.iter(|| {
            number += 1;
            let now = Duration::from_micros(number);
            out.clear();
            dispatcher.step(now, accepted(number, 1_000 + number), &mut out);
            let attempt = match out.as_slice() {
                [DispatcherOutput::Publish { attempt, .. }] => *attempt,
                other => panic!("one publish expected: {other:?}"),
            };
            out.clear();
            dispatcher.step(now, DispatcherInput::Confirmed { attempt }, &mut out);
            let delivery = DeliveryId(number);
            assert_eq!(out, [DispatcherOutput::Done { delivery }]);
            dispatcher.step(now, DispatcherInput::Settled { delivery }, &mut out);
        });
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    let scene = Scene::set();
    println!("one callback of {} bytes", scene.body.len());
    baselines(&mut criterion, &scene);
    receive(&mut criterion, &scene);
    admission(&mut criterion, &scene);
    dispatcher(&mut criterion);
    criterion.final_summary();
}
