//! The integration tests, in one binary: the program as users meet it.

mod layers;
