// Package browser drives a real Chromium for tests.
//
// New starts one for a test, Tab opens a further tab in it; both return a chromedp context, to be used with chromedp or
// with the few helpers here. What a page throws, and what its Content-Security-Policy refuses, fails the test.
package browser

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Patience bounds every step: a page on two busy cores under the race detector may take seconds.
const Patience = 30 * time.Second

// New starts Chromium without a window, and ends it with the test. Where there is none the test is skipped, or fails if the
// environment has CI set: there, a test that cannot run is an error.
func New(t testing.TB) context.Context {
	t.Helper()
	path := find()
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("no Chromium found, and CI is set: install the package chromium")
		}
		t.Skip("no Chromium found: install the package chromium to run this test")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.Flag("no-sandbox", true), // containers seldom allow the name spaces that the sandbox needs
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
	allocator, release := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(release)
	return open(t, allocator)
}

// find returns the path of Chromium or Chrome, "" without one.
func find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Tab opens a further tab in the browser of ctx, with a sessionStorage of its own, and closes it with the test.
func Tab(t testing.TB, ctx context.Context) context.Context {
	t.Helper()
	return open(t, ctx)
}

func open(t testing.TB, parent context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page threw: %v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			if e.Entry.Source == log.EntrySourceSecurity {
				t.Errorf("the page's policy refused: %s", e.Entry.Text)
			}
		}
	})
	if err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return ctx
}

// Do runs the actions within Patience.
func Do(t testing.TB, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatalf("driving Chromium: %v", err)
	}
}

// Eval returns the value of a JavaScript expression in the page, awaited if it is a promise.
func Eval[T any](t testing.TB, ctx context.Context, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("evaluating %s: %v", expression, err)
	}
	return v
}

// Wait polls until the JavaScript expression is true in the page; after Patience the test fails, with the page's text.
func Wait(t testing.TB, ctx context.Context, expression string) {
	t.Helper()
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if Eval[bool](t, ctx, "Boolean("+expression+")") {
			return
		}
	}
	t.Fatalf("%s: not true within %v; the page says:\n%s", expression, Patience, Eval[string](t, ctx, "document.body.innerText"))
}
