//! Connector traits, option registry, contract suites.
