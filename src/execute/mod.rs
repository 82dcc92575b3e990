//! Executing one step: container, host process, load or provider call.
