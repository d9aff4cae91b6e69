//! The generations of the API, and the form of the events in each.

/// A line of the API; its events have one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Generation {
    /// 2021 private preview: Event Grid shaped, without topic and mostly without ids.
    Private2021,
    /// 2021 public preview.
    Public2021,
    /// 2021 late previews.
    Late2021,
    /// 2022 beta.
    Beta2022,
    /// 2023 previews: dialogs.
    Preview2023,
    /// Generally available.
    Ga,
    /// Event Grid's events around calls.
    EventGrid,
}

/// How an event is wrapped, and so what a message of it must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Published byte for byte.
    CloudEvent,
    /// May be mapped to a CloudEvent, `data` untouched.
    EventGrid,
    /// The same, and the receiver makes an id.
    PrivatePreview,
}

impl Generation {
    /// Every one, oldest first.
    pub const ALL: [Self; 7] = [
        Self::Private2021,
        Self::Public2021,
        Self::Late2021,
        Self::Beta2022,
        Self::Preview2023,
        Self::Ga,
        Self::EventGrid,
    ];

    /// Its name in the catalogue.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private2021 => "2021-private",
            Self::Public2021 => "2021-public",
            Self::Late2021 => "2021-late",
            Self::Beta2022 => "2022-beta",
            Self::Preview2023 => "2023-preview",
            Self::Ga => "ga",
            Self::EventGrid => "eg",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::Private2021 => Form::PrivatePreview,
            Self::EventGrid => Form::EventGrid,
            Self::Public2021 | Self::Late2021 | Self::Beta2022 | Self::Preview2023 | Self::Ga => {
                Form::CloudEvent
            }
        }
    }

    /// Whether a callback of one event is an array all the same, as recorded from the service.
    pub(super) const fn always_array(self) -> bool {
        match self {
            Self::Private2021 | Self::Public2021 | Self::Late2021 => false,
            Self::Beta2022 | Self::Preview2023 | Self::Ga | Self::EventGrid => true,
        }
    }
}
