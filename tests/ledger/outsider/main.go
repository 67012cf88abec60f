// An outsider's verifier of a hoopproxy ledger: Go's own note and tlog packages, and what they lack in files.
//
//	outsider tree FOLDER KEYS [CHECKPOINT...]   every leaf and tile; each older checkpoint is of this very log
//	outsider proof FILE KEYS                    one .tlog-proof, and the record in it
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// openCheckpoint verifies a signed checkpoint with the keys in a file, one a line.
func openCheckpoint(data []byte, keys string) (origin string, tree tlog.Tree, err error) {
	text, err := os.ReadFile(keys)
	if err != nil {
		return "", tree, err
	}
	var verifiers []note.Verifier
	for _, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		verifier, err := note.NewVerifier(line)
		if err != nil {
			return "", tree, err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(data, note.VerifierList(verifiers...))
	if err != nil {
		return "", tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 {
		return "", tree, errors.New("not a checkpoint")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return "", tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	if opened.Sigs[0].Name != lines[0] {
		return "", tree, errors.New("the origin is not the signer's name")
	}
	return lines[0], tree, err
}

// tilePath is the path of c2sp.org/tlog-tiles.
func tilePath(level string, n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for ; n >= 1000; n /= 1000 {
		path = fmt.Sprintf("x%03d/%s", n/1000%1000, path)
	}
	if width < 256 {
		path += fmt.Sprintf(".p/%d", width)
	}
	return filepath.Join("tile", level, path)
}

type folder string

func (f folder) Height() int                    { return 8 }
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}
func (f folder) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles {
		read, err := os.ReadFile(filepath.Join(string(f), tilePath(strconv.Itoa(t.L), t.N, t.W)))
		if err != nil {
			return nil, err
		}
		data = append(data, read)
	}
	return data, nil
}

// entries are the leaves of one bundle.
func (f folder) entries(n int64, width int) (leaves [][]byte, err error) {
	data, err := os.ReadFile(filepath.Join(string(f), tilePath("entries", n, width)))
	for err == nil && len(data) > 0 {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("a bundle is cut")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		leaves, data = append(leaves, data[2:end]), data[end:]
	}
	return leaves, err
}

// leaf is what docs/verify.md says of one: consecutive records, the first of them number Jseq.
type leaf struct {
	Commitments []byte
	Ids         []string
	Jseq        int64
	Kinds       []int
	V           int
}

func parseLeaf(data []byte) (said leaf, err error) {
	if err = json.Unmarshal(data, &said); err != nil {
		return said, err
	}
	events := 0
	for _, kind := range said.Kinds {
		if kind == 1 {
			events++
		}
	}
	if said.V != 2 || len(said.Kinds) == 0 || len(said.Commitments) != 32*len(said.Kinds) || len(said.Ids) != events {
		return said, errors.New("not a leaf of a journal")
	}
	return said, nil
}

// commitment is SHA-256(salt || jseq || kind || length || body).
func commitment(salt []byte, jseq int64, kind int, body []byte) []byte {
	data := binary.LittleEndian.AppendUint64(bytes.Clone(salt), uint64(jseq))
	data = binary.LittleEndian.AppendUint32(append(data, byte(kind)), uint32(len(body)))
	sum := sha256.Sum256(append(data, body...))
	return sum[:]
}

func verifyTree(dir folder, keys string, older []string) error {
	data, err := os.ReadFile(filepath.Join(string(dir), "checkpoint"))
	if err != nil {
		return err
	}
	origin, tree, err := openCheckpoint(data, keys)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, dir)
	last := int64(0)
	for start := int64(0); start < tree.N; start += 256 {
		width := int(min(256, tree.N-start))
		leaves, err := dir.entries(start/256, width)
		if err != nil {
			return err
		}
		if len(leaves) != width {
			return fmt.Errorf("%d leaves are in a bundle of %d", len(leaves), width)
		}
		var indexes []int64
		for i := range leaves {
			indexes = append(indexes, tlog.StoredHashIndex(0, start+int64(i)))
		}
		wanted, err := hashes.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, leaf := range leaves {
			if tlog.RecordHash(leaf) != wanted[i] {
				return fmt.Errorf("leaf %d is not what was sealed", start+int64(i))
			}
			said, err := parseLeaf(leaf)
			if err != nil || said.Jseq <= last {
				return fmt.Errorf("leaf %d is out of order", start+int64(i))
			}
			last = said.Jseq + int64(len(said.Kinds)) - 1
		}
	}
	for _, path := range older {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, old, err := openCheckpoint(data, keys)
		if err != nil {
			return err
		}
		if name != origin || old.N > tree.N {
			return fmt.Errorf("a checkpoint of %d leaves was signed, there are %d now", old.N, tree.N)
		}
		if proof, err := tlog.ProveTree(tree.N, old.N, hashes); err != nil {
			return err
		} else if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return err
		}
	}
	fmt.Printf("verified %d leaves of %s\n", tree.N, origin)
	return nil
}

func verifyProof(path, keys string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, checkpoint, _ := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	var said struct {
		Leaf       string
		Jseq       int64
		Body, Salt []byte
	}
	if err := json.Unmarshal(extra, &said); err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	_, tree, err := openCheckpoint(checkpoint, keys)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash([]byte(said.Leaf))); err != nil {
		return err
	}
	sealed, err := parseLeaf([]byte(said.Leaf))
	if err != nil {
		return err
	}
	place := said.Jseq - sealed.Jseq
	if place < 0 || place >= int64(len(sealed.Kinds)) {
		return errors.New("the leaf is not about this record")
	}
	if said.Salt != nil {
		made := commitment(said.Salt, said.Jseq, sealed.Kinds[place], said.Body)
		if !bytes.Equal(made, sealed.Commitments[32*place:32*place+32]) {
			return errors.New("the record is not the one that was sealed")
		}
		fmt.Printf("proven: record %d is %s\n", said.Jseq, said.Body)
	}
	fmt.Printf("proven: leaf %d of %d is %s\n", index, tree.N, said.Leaf)
	return nil
}

func main() {
	err := errors.New("usage: outsider tree FOLDER KEYS [CHECKPOINT...] | outsider proof FILE KEYS")
	if len(os.Args) >= 4 && os.Args[1] == "tree" {
		err = verifyTree(folder(os.Args[2]), os.Args[3], os.Args[4:])
	} else if len(os.Args) == 4 && os.Args[1] == "proof" {
		err = verifyProof(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "NOT VERIFIED:", err)
		os.Exit(1)
	}
}
