// Package picture is the page /tidings: a live picture of the process that serves it, and the search for what became of an event and
// what a user got.
//
// In go the process's own metrics, once a second, and the questions of whoever looks; out go a page with its scripts, a few minutes of
// figures, and reports of gateway/inquiry. History owns the figures; it is as long as its ring, so that a reload does not lose it. The page
// uses nothing from elsewhere, and shows what others wrote as text only.
package picture
