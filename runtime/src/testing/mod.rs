//! What tests of the engine and of all that stands on it share.
