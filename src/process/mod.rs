//! Children: spawn, streams, the keeper, ending a whole tree.
