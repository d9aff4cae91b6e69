//! `[server]`, `[journal]`, `[delivery]`, `[schemas]`: keys, limits and defaults.

use std::{path::Path, time::Duration};

use crate::report::Chain;

use super::{
    checked::{AcceptAfter, Delivery, Journal, KeyPair, Schemas, Server, ServerLimits},
    key_pair::read_key_pair,
    section::Section,
};

/// The default of `server.batch_limit`: Event Grid can be told to send up to 5,000 events in one request.
pub const BATCH_LIMIT: usize = 5_000;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Reads `[server]`; `host_name` is the default of `instance`.
pub(super) fn server(section: &mut Section<'_>, host_name: &str) -> Server {
    let here = |port| ([127, 0, 0, 1], port).into();
    let connection_limit = section.integer("connection_limit", 1..=1_000_000, 4_096);
    // A proxy in front may be one peer to us, but a single peer must not take every permit.
    let half = (connection_limit / 2).max(1);
    let server = Server {
        listen: section.parsed("listen", "0.0.0.0:8080", ([0, 0, 0, 0], 8080).into()),
        admin_listen: section.parsed("admin_listen", "127.0.0.1:8081", here(8081)),
        tls: key_pair(section, "tls"),
        admin_tls: key_pair(section, "admin_tls"),
        limits: ServerLimits {
            body_limit_bytes: section.integer("body_limit_bytes", 1_024..=16_777_216, 1_048_576),
            request_timeout: section.duration(
                "request_timeout",
                seconds(1)..=seconds(300),
                seconds(15),
            ),
            idle_timeout: section.duration(
                "idle_timeout",
                seconds(1)..=seconds(3_600),
                seconds(75),
            ),
            // The parser stops at 96 headers, and at 128 KiB.
            header_limit: section.integer("header_limit", 8..=96, 64),
            head_limit_bytes: section.integer("head_limit_bytes", 1_024..=131_072, 16_384),
            connection_limit,
            peer_connection_limit: section.integer("peer_connection_limit", 1..=1_000_000, half),
            in_flight_limit: section.integer("in_flight_limit", 1..=100_000, 512),
        },
        batch_limit: section.integer("batch_limit", 1..=BATCH_LIMIT, BATCH_LIMIT),
        shutdown_timeout: section.duration(
            "shutdown_timeout",
            seconds(1)..=seconds(600),
            seconds(25),
        ),
        instance: section
            .text("instance")
            .unwrap_or_else(|| host_name.to_owned()),
    };
    if server.limits.peer_connection_limit > connection_limit {
        section.refuse(
            "peer_connection_limit",
            format!("is above connection_limit, which is {connection_limit}"),
        );
    }
    let collide = server.listen.port() != 0
        && server.listen.port() == server.admin_listen.port()
        && (server.listen.ip() == server.admin_listen.ip()
            || server.listen.ip().is_unspecified()
            || server.admin_listen.ip().is_unspecified());
    if collide {
        section.refuse(
            "admin_listen",
            "is the address of server.listen: the admin listener needs a port of its own",
        );
    }
    let named = (1..=64).contains(&server.instance.len())
        && server.instance.bytes().all(|byte| byte.is_ascii_graphic());
    if !named {
        section.refuse(
            "instance",
            "is not an instance name: write 1 to 64 visible ASCII characters, different for each replica",
        );
    }
    server
}

/// Both files or none, and a pair that can be used.
fn key_pair(section: &mut Section<'_>, name: &'static str) -> Option<KeyPair> {
    section.given(name)?;
    section.table(name, |table| {
        let file = |table: &mut Section<'_>, name| {
            if table.given(name).is_none() {
                table.refuse(name, "is missing: write cert_file and key_file");
            }
            table.path(name)
        };
        let cert_file = file(table, "cert_file");
        let key_file = file(table, "key_file");
        let pair = KeyPair {
            cert_file: cert_file?,
            key_file: key_file?,
        };
        if let Err(error) = read_key_pair(&pair) {
            table.refuse("", Chain(&error));
        }
        Some(pair)
    })
}

/// Reads `[journal]`.
pub(super) fn journal(section: &mut Section<'_>) -> Journal {
    let stall_timeout = section.duration("stall_timeout", seconds(1)..=seconds(30), seconds(3));
    let liveness_timeout = section.duration(
        "liveness_timeout",
        seconds(10)..=seconds(3_600),
        seconds(60),
    );
    if liveness_timeout < stall_timeout {
        section.refuse("liveness_timeout", "is shorter than stall_timeout");
    }
    Journal {
        path: section
            .path("path")
            .unwrap_or_else(|| Path::new("data/journal").to_owned()),
        limit_bytes: section.integer("limit_bytes", 65_536..=1 << 50, 1 << 30),
        destination_share: section.share("destination_share", 0.5),
        limit_deliveries: section.integer("limit_deliveries", 1..=100_000_000, 2_000_000),
        stall_timeout,
        liveness_timeout,
    }
}

/// Reads `[delivery]`.
pub(super) fn delivery(section: &mut Section<'_>) -> Delivery {
    let modes = [
        ("journal", AcceptAfter::Journal),
        ("confirm", AcceptAfter::Confirm),
    ];
    Delivery {
        accept_after: section.word("accept_after", &modes, AcceptAfter::Journal),
        confirm_timeout: section.duration(
            "confirm_timeout",
            Duration::from_millis(100)..=seconds(60),
            seconds(5),
        ),
        stall_timeout: section.duration("stall_timeout", seconds(1)..=seconds(3_600), seconds(120)),
        // Beyond 200 one stuck queue was measured to stall the other channels of its connection.
        window: section.integer("window", 1..=200, 128),
    }
}

/// Reads `[schemas]`.
pub(super) fn schemas(section: &mut Section<'_>) -> Schemas {
    let path = section.path("path");
    if let Some(path) = &path
        && !path.is_dir()
    {
        section.refuse(
            "path",
            format!(
                "{} is not a directory: write one that holds catalog.json",
                path.display()
            ),
        );
    }
    Schemas { path }
}
