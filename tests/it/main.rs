//! Integration tests against a real RabbitMQ: one binary, a module per behaviour (ARCHITECTURE.md, "Tests").
//!
//! `./dev/test` starts a private broker and sets `HOOKSWITCH_TEST_AMQP`; by hand:
//! `HOOKSWITCH_TEST_AMQP=$(dev/rabbitmq start /tmp/node) cargo test --features broker-tests --test it`.
#![cfg(feature = "broker-tests")]

mod abuse;
mod auth;
mod consumers;
mod contract;
mod crash;
mod deploy;
mod emulator;
mod faults;
mod listeners;
mod load;
mod modes;
mod openapi;
mod privacy;
mod publish;
mod recordings;
mod replicas;
mod soak;
mod stdout;
mod support;
