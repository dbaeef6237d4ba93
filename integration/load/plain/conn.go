package main

import (
	"time"

	"github.com/gorilla/websocket"
)

// The times of the chat example.
const (
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = pongWait * 9 / 10
	maxMessage = 4096 // Tidings' default; the example has 512
)

// conn is one connection, with a goroutine that reads and one that writes.
type conn struct {
	hub  *hub
	user string
	ws   *websocket.Conn
	send chan []byte
}

// readPump takes pongs, throws messages away, and notices the end.
func (c *conn) readPump() {
	defer func() {
		c.hub.remove(c)
		c.ws.Close()
	}()
	c.ws.SetReadLimit(maxMessage)
	c.ws.SetReadDeadline(time.Now().Add(pongWait))
	c.ws.SetPongHandler(func(string) error { return c.ws.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		if _, _, err := c.ws.ReadMessage(); err != nil {
			return
		}
	}
}

// writePump sends what the hub has for this connection, a frame each, and pings.
func (c *conn) writePump() {
	tick := time.NewTicker(pingPeriod)
	defer func() {
		tick.Stop()
		c.ws.Close()
	}()
	for {
		var err error
		select {
		case b, ok := <-c.send:
			c.ws.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				c.ws.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			err = c.ws.WriteMessage(websocket.TextMessage, b)
		case <-tick.C:
			c.ws.SetWriteDeadline(time.Now().Add(writeWait))
			err = c.ws.WriteMessage(websocket.PingMessage, nil)
		}
		if err != nil {
			return
		}
	}
}
