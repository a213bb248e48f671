//! A bounded queue of jobs with deadlines, drained in batches by a few threads.
