package handover

import "testing"

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "1", "x,1", "1,x", "1,2,a=x", "999999,2"} {
		if h, err := parse(bad); err == nil {
			t.Errorf("%q gave %+v", bad, h)
		}
	}
}
