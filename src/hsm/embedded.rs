//! NOTE FROM THE LEAD: embedded.rs and keyfile.rs are now being written by somebody else on branch `embedded`.
//! Please leave them out here (delete this file before you commit) and finish kmip + PyKMIP test first.
