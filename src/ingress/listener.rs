//! The public listener: threads, limits, stop.

use std::{io, net::TcpListener, sync::Arc};

use actix_web::{App, web};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Authenticators,
    http::{
        self, Certificate, ConnectionMetrics, Listener, ListenerName, Listening,
        threads_for_two_cores,
    },
    journal::Intake,
    status::{DriftCounts, Ledger},
};

use super::{
    IngressMetrics, IngressSettings, Pipeline,
    body::BodyMemory,
    callback::{self, CallbackHandler},
    rate_limits::RateLimits,
};

/// What the public listener works with.
#[derive(Clone, Debug)]
pub struct Ingress {
    pub settings: IngressSettings,
    pub authenticators: Arc<Authenticators>,
    /// From bytes to offers.
    pub pipeline: Arc<Pipeline>,
    pub intake: Intake,
    /// Where events that are refused before the journal are counted.
    pub ledger: Arc<Ledger>,
    /// Where drift is shown.
    pub drift: Arc<DriftCounts>,
    pub metrics: IngressMetrics,
    /// The metrics of its connections.
    pub connection_metrics: ConnectionMetrics,
    /// Its certificate; without one it does not use TLS.
    pub identity: Option<Arc<Certificate>>,
}

/// Serves callbacks on `listener`, which is already bound, on one thread for every two cores.
///
/// # Errors
/// If the listener cannot be made non-blocking or its threads cannot be started.
pub fn serve(listener: TcpListener, ingress: Ingress) -> io::Result<Listening> {
    let address = listener.local_addr()?;
    let stopping = CancellationToken::new();
    let Ingress {
        settings,
        authenticators,
        pipeline,
        intake,
        ledger,
        drift,
        metrics,
        connection_metrics,
        identity,
    } = ingress;
    let connection_metrics = Listener {
        name: ListenerName::Public,
        limits: settings.of_connections(),
        identity,
        threads: threads_for_two_cores(),
        metrics: connection_metrics,
        stopping: stopping.clone(),
    };
    let rate_limits = Arc::new(RateLimits::new(pipeline.apps(), &metrics));
    let handler = CallbackHandler {
        settings,
        rate_limits,
        authenticators,
        pipeline,
        intake,
        ledger,
        drift,
        metrics,
        permits: Arc::new(Semaphore::new(settings.limits.in_flight_limit)),
        room: BodyMemory::new(settings.body_memory_bytes),
        stopping: stopping.clone(),
    };
    let server = http::serve(listener, connection_metrics, move || {
        // This runs once on each of the threads.
        let (intake, mailbox) = handler.intake.for_thread();
        actix_web::rt::spawn(mailbox.deliver());
        let handler = CallbackHandler {
            intake,
            ..handler.clone()
        };
        // One handler for everything: whether a request is a callback is decided on the path as received, which a
        // router that decodes it first could not do.
        App::new()
            .app_data(web::Data::new(handler))
            .default_service(web::to(callback::answer))
    })?;
    Ok(Listening::start(address, server, stopping))
}
