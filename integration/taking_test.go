package integration

import (
	"tidings/fanout/wire"
	"tidings/integration/wsclient"
)

// take takes a frame: what it may be now, and what it means for the tab's position.
func (b *tab) take(text []byte, welcomed *bool) {
	frame, err := b.x.frames.parse(text)
	if err != nil {
		b.fault("%v", err)
		return
	}
	if _, ok := frame.(wsclient.Welcome); ok == *welcomed {
		b.fault("got %+v, welcomed before: %v", frame, *welcomed)
	}
	switch f := frame.(type) {
	case wsclient.Welcome:
		*welcomed = true
		b.welcome(f)
	case *arrival:
		b.arrive(f)
	case wsclient.Heartbeat:
		b.x.heartbeats.Add(1)
		b.move(f.Cursor, false)
	default:
		b.fault("got %+v, although no position can be lost here", frame)
	}
}

func (b *tab) welcome(f wsclient.Welcome) {
	want := "complete"
	if b.cursor == "" {
		want = "none"
		b.move(f.Cursor, false)
		b.first = b.at
		b.x.begun.Add(1)
	}
	if f.Resume != want || f.Cursor != b.cursor {
		b.fault("welcomed with %+v, want resume %s and cursor %s", f, want, b.cursor)
	}
}

// move takes the position of a frame: behind the one before, and for a notification beyond it.
func (b *tab) move(text string, beyond bool) {
	c, err := wire.ParseCursor(text)
	switch {
	case err != nil:
		b.fault("%v", err)
	case b.cursor != "" && (c.Shard != b.at.Shard || c.Epoch != b.at.Epoch):
		b.fault("the cursor went from %s to another log, %s", b.cursor, text)
	case c.Seq < b.at.Seq || beyond && c.Seq == b.at.Seq:
		b.fault("the cursor went from %s to %s", b.cursor, text)
	}
	b.cursor, b.at = text, c
}

func (b *tab) arrive(f *arrival) {
	b.move(f.Cursor, true)
	b.x.arrived()
	if f.wrong != "" {
		b.fault("%s", f.wrong)
		return
	}
	if f.ID == theEnd {
		b.ended = true
		return
	}
	e := f.event
	switch {
	case !e.audience[b.user]:
		b.fault("got %s, which is for others", f.ID)
	case b.seen[e.index]:
		b.fault("got %s once more, at %s", f.ID, f.Cursor)
	case e.n <= b.last[e.aggregate]:
		b.fault("got %s, number %d of aggregate %d, after number %d", f.ID, e.n, e.aggregate, b.last[e.aggregate])
	}
	b.seen[e.index] = true
	b.last[e.aggregate] = max(b.last[e.aggregate], e.n)
	b.got, b.where = append(b.got, e.index), append(b.where, b.at)
	b.count.Store(int64(len(b.got)))
}
