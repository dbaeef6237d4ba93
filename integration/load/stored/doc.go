// Package stored is the floor of durability: JetStream alone, which stores every event twice, with nothing of the product's between
// the two writes and behind them.
//
// A Relay copies each event of EVENTS into LOG and acknowledges it when the copy is stored; Read follows LOG, and is where the
// latency is taken. Both are written with nats.go as its documentation shows it, and the streams are set as the product sets its own.
package stored
