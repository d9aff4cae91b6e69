//! Hookswitch: webhook callback receiver and event router for Azure Communication Services Call Automation.
//!
//! An event passes through `ingress -> envelope -> catalog -> route -> admit -> journal -> dispatch -> publish`; see
//! `ARCHITECTURE.md` for the modules and what each of them may use.

pub mod admin;
pub mod admit;
pub mod app;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod envelope;
pub mod event;
mod files;
pub mod http;
pub mod ingress;
pub mod journal;
pub mod publish;
pub mod report;
pub mod route;
pub mod status;
