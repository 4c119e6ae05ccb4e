//! The dflow library facade.
