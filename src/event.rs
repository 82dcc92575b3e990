//! What happens in a run: closed enums, as the journal stores them.
