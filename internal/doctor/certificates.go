package doctor

import "time"

// renewal is how long before its end a certificate is spoken of.
const renewal = 30 * 24 * time.Hour

// Certificate is one that has an end: those by which the daemons know each other have none.
type Certificate struct {
	Of      string // whose it is, or the file
	Ends    time.Time
	Now     time.Time // when it was looked at
	Problem string    // why it cannot be read
	Remedy  string
}

// certificates: one that has ended keeps a scrape out, or this node from fencing.
func certificates(f *Facts) []Finding {
	var found []Finding
	for _, c := range f.Cluster.Certificates {
		switch left := c.Ends.Sub(c.Now); {
		case c.Problem != "":
			found = append(found, fail(c.Of, c.Remedy, "its certificate cannot be read: %s", c.Problem))
		case left <= 0:
			found = append(found, fail(c.Of, c.Remedy, "its certificate has ended, on %s", c.Ends.Format(time.DateOnly)))
		case left < renewal:
			found = append(found, warn(c.Of, c.Remedy, "its certificate ends on %s", c.Ends.Format(time.DateOnly)))
		default:
			found = append(found, ok(c.Of, "its certificate is good until %s", c.Ends.Format(time.DateOnly)))
		}
	}
	return found
}
