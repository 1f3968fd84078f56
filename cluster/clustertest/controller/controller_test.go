package controller_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/controller"
)

func TestKinds(t *testing.T) {
	if controller.Unreachable.Answers(true) || controller.DiesWithNode.Answers(false) || !controller.DiesWithNode.Answers(true) || !controller.SaysOff.Answers(true) {
		t.Error("which of them answer")
	}
	if !controller.SaysOff.Says(false, 3) || controller.SaysOn.Says(true, 0) || !controller.SaysOffOnce.Says(false, 0) || controller.SaysOffOnce.Says(false, 1) {
		t.Error("who lies, and when")
	}
	if controller.Honest.Says(false, 0) || !controller.Honest.Says(true, 0) {
		t.Error("an honest one says what is so")
	}
}
