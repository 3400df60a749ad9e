/** Optional members for `exactOptionalPropertyTypes`: absent means absent, not `undefined`. */

type Present<Value> = {
  [Key in keyof Value as undefined extends Value[Key] ? never : Key]: Value[Key];
} & { [Key in keyof Value as undefined extends Value[Key] ? Key : never]?: Exclude<Value[Key], undefined> };

/** The object without its undefined members. */
export const present = <const Value extends object>(value: Value): Present<Value> =>
  // The one cast: fromEntries forgets the names that the type above has counted.
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Present<Value>;
