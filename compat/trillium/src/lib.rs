//! Nothing but a place for the test of this package.
