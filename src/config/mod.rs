//! Configuration: layers, raw shapes, checked shapes (design 9). Other rooms see only the checked ones.

mod checked;

pub use checked::{
    AcceptAfter, App, Auth, Broker, BrokerEndpoint, Config, Delivery, Journal, OnInvalid,
    OnUnknown, Schemas, Secret, Server, Tls,
};
