package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/integration/browser"
)

// TestShots takes pictures of the pages for people to look at, into the directory TIDINGS_SHOTS:
//
//	TIDINGS_SHOTS=/tmp/shots go test -run TestShots ./gateway/demo
func TestShots(t *testing.T) {
	dir := os.Getenv("TIDINGS_SHOTS")
	if dir == "" {
		t.Skip("TIDINGS_SHOTS names no directory")
	}
	chromium := browser.New(t)
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 360} {
			tab := browser.Tab(t, chromium)
			look(t, tab, theme, width)
			scenes(t, tab, func(scene string) {
				path := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", scene, theme, width))
				if err := os.WriteFile(path, picture(t, tab, scene), 0o644); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// picture is PNG: of the whole page, or of the window where something lies over the page.
func picture(t *testing.T, tab context.Context, scene string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, browser.Patience)
	defer cancel()
	shoot := chromedp.FullScreenshot(100)
	if scene == "bell" || scene == "who" || scene == "help" {
		shoot = chromedp.CaptureScreenshot()
	}
	png, err := chromedp.Run(ctx, shoot)
	if err != nil {
		t.Fatal(err)
	}
	return png
}
