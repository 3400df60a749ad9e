/** The kinds of single values in protobuf messages, and how each is laid out. */

/**
 * What a decoded value is. `uint64` and `int64` are numbers: one that a number cannot hold exactly is refused. `biguint64` and `bigint64` are the same on the
 * wire, for values that do get that large: counters, and limits where the largest number means none.
 */
export interface ScalarValues {
  readonly string: string;
  readonly bytes: Uint8Array;
  readonly bool: boolean;
  readonly uint32: number;
  readonly int32: number;
  readonly uint64: number;
  readonly int64: number;
  readonly biguint64: bigint;
  readonly bigint64: bigint;
  readonly double: number;
  /** Open, as proto3 has it: a number that no table knows is kept. */
  readonly enum: number;
}

export type Scalar = keyof ScalarValues;

/** How the bytes of a field are delimited. 3 and 4 are groups, which proto3 does not have. */
export const wireTypes = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** Wire type and default of each kind. */
export const scalars = {
  string: { wireType: wireTypes.bytes, zero: "" },
  bytes: { wireType: wireTypes.bytes, zero: new Uint8Array(0) },
  bool: { wireType: wireTypes.varint, zero: false },
  uint32: { wireType: wireTypes.varint, zero: 0 },
  int32: { wireType: wireTypes.varint, zero: 0 },
  uint64: { wireType: wireTypes.varint, zero: 0 },
  int64: { wireType: wireTypes.varint, zero: 0 },
  biguint64: { wireType: wireTypes.varint, zero: 0n },
  bigint64: { wireType: wireTypes.varint, zero: 0n },
  double: { wireType: wireTypes.fixed64, zero: 0 },
  enum: { wireType: wireTypes.varint, zero: 0 },
} as const satisfies {
  readonly [K in Scalar]: { readonly wireType: number; readonly zero: ScalarValues[K] };
};
