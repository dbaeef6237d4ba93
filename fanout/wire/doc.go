// Package wire is the one contract that fanout and gateway share: the Record, which is an entry of the log, the
// Cursor, which is a browser's bookmark in it, and the names of the log's streams and subjects.
//
// Fanout encodes Records, gateways decode them; both compute a user's shard and partition here. The package imports
// nothing of ours, and testdata holds the bytes that every later version must still read.
package wire
