package quorumdisk

import "github.com/holdfast-ha/holdfast/cluster"

// The parts that the fuzz tests reach without compressor and seal.
var ParseKeys = parseKeys

// Span is where a field stands in its record.
type Span struct{ Off, Len int }

// Fields lists the fields of every record by the constants that the codecs use:
// each offset, and its length up to the next one, with the zero bytes left out.
func Fields() map[string][]Span {
	return map[string][]Span{
		"frame": {{offMagic, 8}, {offFormat, 2}, {offNode, 1}, {offSlot, 1}, {offCluster, 16}, {offFields, offCRC - offFields}, {offCRC, 4}, {offSeal, sealSize}},
		"superblock": {
			{offSuperDisk, 16},
			{offSuperGen, 4},
			{offSuperSector, 4},
			{offSuperNmax, 2},
			{offSuperRing, 2},
			{offSuperBody, 4},
			{offSuperBlob, 4},
			{offSuperSize, 8},
			{offSuperCreated, 8},
			{offSuperKind, offSuperValue - offSuperKind},
			{offSuperValue, offSuperEnd - offSuperValue},
		},
		"beat": {
			{offBeatHost, 16},
			{offBeatInc, 4},
			{offBeatBoot, 16},
			{offBeatSeq, 8},
			{offBeatF, 4},
			{offBeatG, 4},
			{offBeatTMax, 4},
			{offBeatPause, 4},
			{offBeatM, 1},
			{offBeatClass, 1},
			{offBeatLength, 2},
			{offBeatDiskGen, 4},
			{offBeatLatency, 4 * MaxDisks},
			{offBeatState, 1},
			{offBeatPayload, MaxPayload},
		},
		"payload": {
			{0, 1},
			{1, 1},
			{2, 2},
			{payloadFlags, 1},
			{payloadCount, 1},
			{payloadSpoken, 1},
			{payloadView, 8},
			{payloadVer, 8},
			{payloadBallot, ballotSize},
			{payloadGen, 8},
			{payloadNode, 1},
			{payloadBlobGen, 8},
			{payloadReach, 32},
			{payloadDigest, 8},
			{payloadKills, cluster.MaxKills * killSize},
		},
		"header": {
			{offHeaderInc, 4},
			{offHeaderGen, 8},
			{offHeaderVer, 8},
			{offHeaderMbal, ballotSize},
			{offHeaderBal, ballotSize},
			{offHeaderLen, 4},
			{offHeaderSum, offHeaderEnd - offHeaderSum},
		},
		"blob":  {{offBlobInc, 4}, {offBlobBoot, 16}, {offBlobGen, 8}, {offBlobLen, 4}, {offBlobSum, offBlobEnd - offBlobSum}},
		"probe": {{offFields, offProbeEnd - offFields}},
	}
}
