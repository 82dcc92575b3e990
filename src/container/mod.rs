//! Steps in Docker: the only module that names bollard.
