// Holds the state and tells who listens. The only place where state is replaced.

/** Every event is stamped with the time, so that the reducer needs no clock and no countdown starts late. */
export function createStore(reduce, initial, clock) {
  let state = initial;
  const listeners = [];
  return {
    get: () => state,
    subscribe: (listener) => listeners.push(listener),
    dispatch(event) {
      const before = state;
      state = reduce(before, { at: clock(), ...event });
      for (const listener of listeners) listener(state, before, event);
    },
  };
}
