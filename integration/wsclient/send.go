package wsclient

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/gobwas/ws"
)

// writePatience bounds a write. A server that reads nothing for so long is broken.
const writePatience = 10 * time.Second

// SendText sends a text.
func (t *Tab) SendText(text string) error { return t.SendFrame(ws.NewTextFrame([]byte(text))) }

// SendJSON sends v as text.
func (t *Tab) SendJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.SendFrame(ws.NewTextFrame(b))
}

// SendFrame masks and sends a frame, whatever its header says.
func (t *Tab) SendFrame(f ws.Frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.send(f)
}

// SendRaw sends bytes as they are.
func (t *Tab) SendRaw(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.write(b)
}

// sayClose sends our only close frame.
func (t *Tab) sayClose(payload []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said {
		return nil
	}
	t.said = true
	return t.send(ws.NewCloseFrame(payload))
}

func (t *Tab) send(f ws.Frame) error {
	b := bytes.NewBuffer(t.out[:0])
	if err := ws.WriteFrame(b, ws.MaskFrame(f)); err != nil {
		return err
	}
	t.out = b.Bytes()
	err := t.write(t.out)
	if cap(t.out) > 4096 {
		t.out = nil
	}
	return err
}

func (t *Tab) write(b []byte) error {
	if err := t.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	_, err := t.conn.Write(b)
	return err
}
