package demo

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"tidings/integration/browser"
)

// TestShots takes pictures of the pages for people to look at, into the directory TIDINGS_SHOTS, and shows that there is something in them:
//
//	TIDINGS_SHOTS=/tmp/shots go test -run TestShots ./gateway/demo
func TestShots(t *testing.T) {
	dir := cmp.Or(os.Getenv("TIDINGS_SHOTS"), t.TempDir())
	chromium := browser.New(t)
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 360} {
			tab := browser.Tab(t, chromium)
			look(t, tab, theme, width)
			scenes(t, tab, func(scene string) {
				shot := picture(t, tab, scene)
				name := fmt.Sprintf("%s-%s-%d.png", scene, theme, width)
				if err := os.WriteFile(filepath.Join(dir, name), shot, 0o644); err != nil {
					t.Fatal(err)
				}
				if img, err := png.Decode(bytes.NewReader(shot)); err != nil || img.Bounds().Dx() != int(width) || colours(img) < 16 {
					t.Errorf("%s is no picture of a page %d wide: %v", name, width, err)
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
	shot, err := chromedp.Run(ctx, shoot)
	if err != nil {
		t.Fatal(err)
	}
	return shot
}

// colours are how many a picture has, those that smooth letters too: a page without a style, or without a text, has few.
func colours(img image.Image) int {
	seen := map[color.Color]bool{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			seen[img.At(x, y)] = true
		}
	}
	return len(seen)
}
