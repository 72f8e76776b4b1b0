//! Nothing but a place for the examples and tests of this package.
