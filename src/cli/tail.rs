//! `hookswitch tail`: follow the live feed of a running receiver.

use clap::Args;

use crate::event::Kind;

/// Follow what a running receiver does, one line a step
///
/// Shows what is accepted, delivered and quarantined from now on. Takes nothing from any queue.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hookswitch tail --app contoso --kind DtmfReceived")]
pub struct TailArgs {
    /// The receiver's admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub admin: String,

    /// Only events of this app
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,

    /// Only events with this call key
    #[arg(long, value_name = "KEY")]
    pub call: Option<String>,

    /// Only events of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<Kind>,

    /// Only deliveries to this queue
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<String>,

    /// One JSON object a line, as it comes from the receiver
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: TailArgs,
    }

    #[test]
    fn the_admin_listener_of_the_defaults_is_followed() {
        let args = Alone::try_parse_from(["tail", "--kind", "Hold"])
            .unwrap()
            .args;
        assert_eq!(args.admin, "http://127.0.0.1:8081");
        assert_eq!(args.kind, Some(Kind::Hold));
        assert!(Alone::try_parse_from(["tail", "--kind", "hold"]).is_err());
    }
}
