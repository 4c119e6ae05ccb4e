//! Why a record did not decode.

/// The result of decoding a piece of a record.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// What kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The text is not JSON: the whole record is lost.
    Malformed,
    /// A value does not fit its column: the column is lost.
    Value,
    /// A key came twice in one object: decode again, keeping the last.
    Duplicate,
}

/// Trouble with its place. One pointer wide.
#[derive(Clone, Debug)]
pub(crate) struct Fault(Box<(Kind, Option<String>, String)>);

impl Fault {
    #[cold]
    pub(crate) fn malformed(message: String) -> Self {
        Self(Box::new((Kind::Malformed, None, message)))
    }

    #[cold]
    pub(crate) fn value(message: String) -> Self {
        Self(Box::new((Kind::Value, None, message)))
    }

    #[cold]
    pub(crate) fn duplicate() -> Self {
        Self(Box::new((Kind::Duplicate, None, "a key is given twice".into())))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.0
    }

    /// Adds the field it happened in, from the inside out.
    #[cold]
    pub(crate) fn within(mut self, name: &str) -> Self {
        self.0.1 = Some(match self.0.1.take() {
            Some(inner) if inner.starts_with('[') => format!("{name}{inner}"),
            Some(inner) => format!("{name}.{inner}"),
            None => name.to_owned(),
        });
        self
    }

    /// Adds the index of an array element.
    #[cold]
    pub(crate) fn element(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The field and the message.
    pub(crate) fn into_parts(self) -> (Option<String>, String) {
        (self.0.1, self.0.2)
    }
}
